import t from 'tap'
import { parseMountinfo } from '../../src/volume/mountinfo.ts'

t.test('mount points and types are read, with and without optional fields', async (t) => {
  const text = `22 1 0:21 / / rw,relatime - ext4 /dev/root rw
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue
99 22 0:77 / /var/lib/kubelet/pods/1-2/volumes/x/mount rw,nosuid shared:9 - tmpfs vault-files-csi rw,size=4096k
`
  t.strictSame(
    [...parseMountinfo(text)],
    [
      ['/', 'ext4'],
      ['/mnt2', 'ext3'],
      ['/var/lib/kubelet/pods/1-2/volumes/x/mount', 'tmpfs'],
    ],
  )
})

t.test('escapes are undone', async (t) => {
  const text = String.raw`1 2 0:1 / /a\040b\011c\012d\134e\043 rw - tmpfs x\040y rw`
  t.strictSame([...parseMountinfo(text).keys()], ['/a b\tc\nd\\e#'])
})

t.test('an escaped backslash before digits stays a backslash', async (t) => {
  t.strictSame([...parseMountinfo(String.raw`1 2 0:1 / /a\134040 rw - tmpfs x rw`).keys()], ['/a\\040'])
})

t.test('of stacked mounts the one on top counts', async (t) => {
  const text = '1 2 0:1 / /m rw - tmpfs x rw\n2 1 0:2 / /m rw - proc y rw\n'
  t.equal(parseMountinfo(text).get('/m'), 'proc')
})

t.test('names of other scripts come through', async (t) => {
  t.strictSame([...parseMountinfo('1 2 0:1 / /том rw - tmpfs x rw').keys()], ['/том'])
})

t.test('an empty text has no mounts', async (t) => {
  t.equal(parseMountinfo('').size, 0)
})
