// Reads a secret again whenever it changes: inotify with only the standard library.
// With github.com/fsnotify/fsnotify, add the file and act on fsnotify.Write: it is the same event.
//
// usage: go run watch.go FILE
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"syscall"
)

func main() {
	path := os.Args[1]
	inotify, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		log.Fatal(err)
	}
	// One watch is valid for the life of the volume.
	if _, err := syscall.InotifyAddWatch(inotify, path, syscall.IN_MODIFY); err != nil {
		log.Fatal(err)
	}
	var secret []byte
	events := make([]byte, 4096)
	for {
		fresh, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		// One change can cause two events.
		if !bytes.Equal(fresh, secret) {
			secret = fresh
			fmt.Printf("loaded %d bytes\n", len(secret))
		}
		if _, err := syscall.Read(inotify, events); err != nil && err != syscall.EINTR {
			log.Fatal(err)
		}
	}
}
