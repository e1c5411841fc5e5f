// Reads a secret again whenever it changes: fs.watch sets inotify on the file itself.
//
// usage: node watch.mjs FILE
import { readFileSync, watch } from 'node:fs'

const [, , path] = process.argv
let secret

// One watch is valid for the life of the volume.
watch(path, load)
load()

function load() {
  const fresh = readFileSync(path)
  // One change can cause two events.
  if (secret !== undefined && fresh.equals(secret)) return
  secret = fresh
  console.log(`loaded ${secret.length} bytes`)
}
