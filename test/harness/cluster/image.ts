import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { ROOT } from '../../../deploy/generate/deploy-files.ts'
import { type Copy, readLastStage } from './dockerfile.ts'

const run = promisify(execFile)

/** Packs programs with their libraries, and directories, into what a container runtime imports. */
const PACKER = join(ROOT, '../shared/cluster/image.py')
const NODE = join(ROOT, 'node_modules/node/bin/node')
const NAME = 'localhost/vault-files-csi'

/** Whatever the image is made of; the lock file stands for the packages. */
const inputs = [
  'Dockerfile',
  'LICENSE',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'proto/*',
  'src/**/*.ts',
]

/** An image of the plugin as the Dockerfile would make it, on another base. */
export type Image = {
  /** A tar that `ctr images import` takes. */
  tar: string
  name: string
  /** What the Dockerfile's ENTRYPOINT and ENV say: the tar carries neither, a pod's spec must. */
  command: string[]
  env: { name: string; value: string }[]
}

/** Why no image can be made here; false when one can. */
export const noPacker: string | false = existsSync(PACKER) ? false : '../shared/cluster is not there'

/**
 * Makes the image, or takes that of an earlier run with the same content from the user's cache directory.
 * No network and no container engine is needed: production packages are copied from node_modules.
 * @throws Error with the words of the build step that failed
 */
export async function makeImage(): Promise<Image> {
  const { entrypoint, env } = readLastStage()
  const hash = hashInputs()
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vault-files-csi/images')
  const image = {
    tar: join(folder, `${hash}.tar`),
    name: `${NAME}:${hash}`,
    command: entrypoint,
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
  }
  if (!existsSync(image.tar)) await pack(image)
  return image
}

/** Imports the image into the containerd of a cluster made by ../shared/cluster, unless it is there. */
export async function importImage(image: Image, containerdSocket: string): Promise<void> {
  const ctr = (...args: string[]) => run('ctr', ['-a', containerdSocket, '-n', 'k8s.io', 'images', ...args])
  const { stdout } = await ctr('list', '--quiet')
  if (!stdout.split('\n').includes(image.name)) await ctr('import', image.tar)
}

async function pack({ tar, name }: Image): Promise<void> {
  const folder = join(tar, '..')
  mkdirSync(folder, { recursive: true })
  // Images are large, and one of an older state of the source is of no more use.
  const older = globSync('*.tar', { cwd: folder })
  const app = mkdtempSync(join(tmpdir(), 'vault-files-csi-image-'))
  const scratch = join(mkdtempSync(join(folder, '.pack-')), 'image.tar')
  try {
    await stage(app)
    await run('python3', [PACKER, scratch, name, realpathSync(NODE), `/app=${app}`])
    renameSync(scratch, tar)
    for (const file of older) rmSync(join(folder, file), { force: true })
  } finally {
    rmSync(app, { recursive: true, force: true })
    rmSync(join(scratch, '..'), { recursive: true, force: true })
  }
}

/** Fills a directory with what the Dockerfile's last stage has in /app. */
export async function stage(app: string): Promise<void> {
  for (const copy of readLastStage().copies) {
    // Node goes to /bin with its libraries.
    if (copy.from === 'node') continue
    await stageOne(app, copy)
  }
}

async function stageOne(app: string, { source, target }: Copy): Promise<void> {
  const name = basename(source)
  const to = target === './' ? join(app, name) : join(app, target)
  if (name === 'dist') await buildInto(to)
  else if (name === 'node_modules') await copyProductionModules(to)
  else cpSync(join(ROOT, name), to, { recursive: true })
}

/** Not into the repository's own dist, which others may be running. */
async function buildInto(folder: string): Promise<void> {
  const tsc = join(ROOT, 'node_modules/.bin/tsc')
  // Under tap every Node process is given a loader, which TypeScript's own program cannot be loaded by.
  await run('env', ['-u', 'NODE_OPTIONS', tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', folder])
}

/** What `npm prune --omit=dev` would leave. */
async function copyProductionModules(to: string): Promise<void> {
  const list = ['ls', '--omit=dev', '--all', '--parseable']
  const { stdout } = await run('npm', list, { cwd: ROOT, maxBuffer: 8 << 20 })
  const modules = join(ROOT, 'node_modules')
  for (const folder of stdout.split('\n').filter((line) => line.startsWith(`${modules}/`))) {
    // Packages beneath it are in the list themselves.
    const filter = (path: string) => !relative(folder, path).split('/').includes('node_modules')
    cpSync(folder, join(to, relative(modules, folder)), { recursive: true, filter })
  }
}

function hashInputs(): string {
  const hash = createHash('sha256')
  const { size, mtimeMs } = statSync(NODE)
  hash.update(`${size} ${mtimeMs}`).update(readFileSync(PACKER))
  for (const path of globSync(inputs, { cwd: ROOT }).sort()) {
    hash.update(`\0${path}\0`).update(readFileSync(join(ROOT, path)))
  }
  return hash.digest('hex').slice(0, 16)
}
