import type { UpdateMode } from '../core/imports/import.ts'
import type { RenderedFile } from '../core/ports/volume.ts'

/** No tmpfs is smaller: four small files need a quarter of it, and may grow. */
export const LEAST_BYTES = 128 * 1024
/** So many times what the files need now: most rotations need no other size. */
const HEADROOM = 2
/** What the kernel keeps for a file besides its pages: about 700 bytes for the inode, and its name. */
const INODE_BYTES = 1024
/** A link whose target is so long takes a page of its own. */
const LONG_NAME_BYTES = 120
/** A whole set of files each, at the peak of an update. */
const COPIES = { Live: 2, Atomic: 2, InPlace: 1 } satisfies Record<UpdateMode, number>

/**
 * How large the tmpfs of a volume must be for these files, and how large it is best made: bytes, multiples of the page.
 * What fits in no volume gets the largest one; whoever writes the files refuses them.
 */
export function sizeFor(
  files: readonly Pick<RenderedFile, 'name' | 'content'>[],
  of: { updateMode: UpdateMode; pageBytes: number; maxVolumeBytes: number },
): { needed: number; wanted: number } {
  const { updateMode, pageBytes, maxVolumeBytes } = of
  const copies = COPIES[updateMode]
  const pages = (bytes: number) => Math.ceil(bytes / pageBytes) * pageBytes
  const contents = files.reduce((sum, { content }) => sum + pages(content.byteLength), 0)
  const links = files.filter(({ name }) => Buffer.byteLength(name) >= LONG_NAME_BYTES).length * pageBytes
  const inodes = files.length * (copies + 1) * INODE_BYTES
  const needed = contents * copies + links
  const wanted = pages(Math.max(LEAST_BYTES, HEADROOM * (needed + inodes)))
  return { needed, wanted: Math.min(wanted, maxVolumeBytes) }
}
