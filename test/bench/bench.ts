// `npm run bench`: what the plugin costs, beside what bare calls to the same Vault cost, in one run on one machine.
// See --help; docs/admins/bench.md says how to read it.
import { writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { inOwnNamespace } from '../harness/runner/namespace.ts'
import { median } from './figures.ts'
import { startFloor } from './floor.ts'
import { race } from './race.ts'
import { judge, type Results, render } from './report.ts'
import { type Scene, setScene } from './scene.ts'
import { sweep } from './sweep.ts'

const HELP = `npm run bench [-- --quick] [--json FILE] [--only PART]
  --quick      small numbers, half a minute: shows that it works, measures nothing worth keeping
  --json FILE  where the figures go; bench-results.json when left out
  --only PART  race, sweep or ready
  --node-flag FLAG  for the plugin's Node, may be repeated: --node-flag=--cpu-prof, --node-flag=--heap-prof
`
const FULL = {
  rounds: 4,
  operations: { 1: 500, 8: 1000 },
  starts: 5,
  volumes: 1000,
  some: 200,
  intervalSeconds: 20,
}
const QUICK = {
  rounds: 1,
  operations: { 1: 50, 8: 100 },
  starts: 1,
  volumes: 100,
  some: 20,
  intervalSeconds: 3,
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string', default: 'bench-results.json' },
    only: { type: 'string' },
    'node-flag': { type: 'string', multiple: true, default: [] },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
// Coverage would slow the plugin down, and would go to another run's folder.
delete process.env.NODE_V8_COVERAGE
const code = await inOwnNamespace()
if (code !== undefined) process.exit(code)

const size = values.quick ? QUICK : FULL
const scene = await setScene({ refreshSeconds: size.intervalSeconds, nodeFlags: values['node-flag'] })
try {
  const results = await measure(scene)
  console.log(`\n${render(results)}`)
  writeFileSync(values.json, `${JSON.stringify({ ...results, targets: judge(results) }, null, 2)}\n`)
  console.log(`\nwritten to ${values.json}`)
} finally {
  await scene.close()
}

async function measure(scene: Scene): Promise<Results> {
  const wants = (part: string) => values.only === undefined || values.only === part
  const starts = wants('ready') ? await start(scene) : []
  return {
    machine: {
      cores: cpus().length,
      processor: cpus()[0]?.model ?? 'unknown',
      'memory GiB': Math.round(totalmem() / 2 ** 30),
      kernel: release(),
      node: process.version,
      openbao: scene.version,
    },
    readyMs: { median: median(starts), all: starts },
    race: wants('race') ? await runRace(scene) : [],
    sweeps: wants('sweep') ? await runSweeps(scene) : [],
  }
}

async function start(scene: Scene): Promise<number[]> {
  const times: number[] = []
  for (let count = 0; count < size.starts; count++) {
    const plugin = await scene.startPlugin()
    times.push(plugin.readyMs)
    await plugin.stop()
  }
  say('started')
  return times
}

async function runRace(scene: Scene) {
  const floor = await startFloor()
  const plugin = await scene.startPlugin()
  try {
    return await race({ scene, floor, plugin }, { ...size, onRound: say })
  } finally {
    await plugin.stop()
    await floor.close()
  }
}

async function runSweeps(scene: Scene) {
  const one = await sweep(scene, { ...size, identities: 1 })
  say('swept volumes of one identity')
  const many = await sweep(scene, { ...size, identities: size.volumes / 10 })
  say('swept volumes of many identities')
  return [one, many]
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}
