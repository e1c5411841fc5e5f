import { connectKubelet, type Kubelet } from '../../src/demo/kubelet.ts'
import { median } from './figures.ts'
import type { Floor, FloorJob } from './floor.ts'
import { createPods } from './pods.ts'
import {
  AUDIENCE,
  type BenchedPlugin,
  JWT_MOUNT,
  NAMESPACE,
  ROLE,
  type Scene,
  SECRET_PATH,
  SERVICE_ACCOUNT,
} from './scene.ts'
import { type Leg, runLeg } from './workers.ts'

export type Concurrency = 1 | 8

/** Rates of the bare client and of the plugin, at one concurrency, medians over the rounds. */
export type RaceResult = {
  concurrency: Concurrency
  floor: { login: Leg; read: Leg; pair: Leg }
  distinct: { publish: Leg; unpublish: Leg }
  shared: { publish: Leg; unpublish: Leg }
  /** Of one round each, then the median: floor and plugin had the same machine at nearly the same moment. */
  ratio: { distinct: number; shared: number }
}

type Round = Omit<RaceResult, 'concurrency' | 'ratio'>

/**
 * Floor and plugin in turns against the same server. The first round warms up and is thrown away.
 * @param options.operations of each leg, by concurrency
 */
export async function race(
  deps: { scene: Scene; floor: Floor; plugin: BenchedPlugin },
  options: { rounds: number; operations: Record<Concurrency, number>; onRound: (text: string) => void },
): Promise<RaceResult[]> {
  const { rounds, operations, onRound } = options
  // kubelet dials anew for each call; that is the caller's cost, not ours, and a Go client pays less for it than this one.
  const kubelet = connectKubelet(deps.plugin.endpoint, { keepConnection: true })
  const found = new Map<Concurrency, Round[]>([
    [1, []],
    [8, []],
  ])
  for (let round = 0; round <= rounds; round++) {
    for (const [concurrency, earlier] of found) {
      const name = `${round}-${concurrency}`
      const result = await runRound(deps, kubelet, { name, concurrency, operations: operations[concurrency] })
      if (round > 0) earlier.push(result)
      onRound(`${round === 0 ? 'warm-up' : `round ${round} of ${rounds}`}, concurrency ${concurrency}`)
    }
  }
  kubelet.close()
  return [...found].map(([concurrency, all]) => summarise(concurrency, all))
}

async function runRound(
  { scene, floor }: { scene: Scene; floor: Floor },
  kubelet: Kubelet,
  { name, concurrency, operations }: { name: string; concurrency: Concurrency; operations: number },
): Promise<Round> {
  const bare = (kind: FloorJob['kind']) => floor.run(floorJob(scene, kind, concurrency, operations))
  const plugin = async (importName: 'each' | 'one') => {
    const pods = createPods(scene, { name: `${importName}-${name}`, count: operations, importName })
    const publish = await runLeg(pods, concurrency, (pod) => kubelet.nodePublish(pod))
    const unpublish = await runLeg(pods, concurrency, (pod) => kubelet.nodeUnpublish(pod))
    return { publish, unpublish }
  }
  const pair = await bare('pair')
  const distinct = await plugin('each')
  const login = await bare('login')
  const shared = await plugin('one')
  const read = await bare('read')
  return { floor: { login, read, pair }, distinct, shared }
}

function floorJob(scene: Scene, kind: FloorJob['kind'], concurrency: number, operations: number): FloorJob {
  const subject = { namespace: NAMESPACE, serviceAccount: SERVICE_ACCOUNT, audience: AUDIENCE }
  return {
    kind,
    concurrency,
    address: scene.address,
    loginPath: `auth/${JWT_MOUNT}/login`,
    role: ROLE,
    readPath: SECRET_PATH,
    jwts: Array.from({ length: operations }, () => scene.issuer.issue(subject)),
  }
}

function summarise(concurrency: Concurrency, rounds: readonly Round[]): RaceResult {
  const ratioTo = (pick: (round: Round) => Leg) =>
    median(rounds.map((round) => pick(round).perSecond / round.floor.pair.perSecond))
  const both = (kind: 'distinct' | 'shared') => ({
    publish: middle(rounds.map((round) => round[kind].publish)),
    unpublish: middle(rounds.map((round) => round[kind].unpublish)),
  })
  return {
    concurrency,
    floor: {
      login: middle(rounds.map((round) => round.floor.login)),
      read: middle(rounds.map((round) => round.floor.read)),
      pair: middle(rounds.map((round) => round.floor.pair)),
    },
    distinct: both('distinct'),
    shared: both('shared'),
    ratio: {
      distinct: ratioTo((round) => round.distinct.publish),
      shared: ratioTo((round) => round.shared.publish),
    },
  }
}

function middle(legs: readonly Leg[]): Leg {
  const of = (name: keyof Leg) => median(legs.map((leg) => leg[name]))
  return {
    operations: of('operations'),
    perSecond: of('perSecond'),
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
  }
}
