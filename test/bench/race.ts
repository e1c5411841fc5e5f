import { connectKubelet, type Kubelet } from '../harness/kubelet/kubelet.ts'
import { median } from './figures.ts'
import type { Floor, FloorJob } from './floor.ts'
import { type HopWork, startHop } from './hop.ts'
import { createPods } from './pods.ts'
import {
  AUDIENCE,
  type BenchedPlugin,
  type ImportName,
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
/** A leg that is made and unmade. */
export type Pair = { publish: Leg; unpublish: Leg }

/** Rates at one concurrency, medians over the rounds. */
export type RaceResult = Round & {
  concurrency: Concurrency
  /** Of one round each, then the median: both sides had the same machine at nearly the same moment. */
  ratio: { distinct: Ratio; shared: Ratio }
}

/** To bare login + read, and to the same behind a gRPC call. */
export type Ratio = { bare: number; hop: number }

type Round = {
  bare: { login: Leg; read: Leg; pair: Leg }
  hop: Record<HopWork, Leg>
  distinct: Pair
  shared: Pair
}

type Deps = { scene: Scene; floor: Floor; plugin: BenchedPlugin }
type Sockets = { plugin: Kubelet; hop: Kubelet }

/**
 * Floor and plugin in turns against the same server. The first round warms up and is thrown away.
 * @param options.operations of each leg, by concurrency
 */
export async function race(
  deps: Deps,
  options: { rounds: number; operations: Record<Concurrency, number>; onRound: (text: string) => void },
): Promise<RaceResult[]> {
  const { rounds, operations, onRound } = options
  const hop = await startHop(hopSettings(deps.scene))
  // kubelet opens a connection for each call; that is the caller's cost, not ours, and a Go client pays less for it than this one.
  const connect = (endpoint: string) => connectKubelet(endpoint, { keepConnection: true })
  const sockets = { plugin: connect(deps.plugin.endpoint), hop: connect(hop.endpoint) }
  const found = new Map<Concurrency, Round[]>([
    [1, []],
    [8, []],
  ])
  for (let round = 0; round <= rounds; round++) {
    for (const [concurrency, earlier] of found) {
      const name = `${round}-${concurrency}`
      const result = await runRound(deps, sockets, { name, concurrency, operations: operations[concurrency] })
      if (round > 0) earlier.push(result)
      onRound(`${round === 0 ? 'warm-up' : `round ${round} of ${rounds}`}, ${concurrency} at a time`)
    }
  }
  sockets.plugin.close()
  sockets.hop.close()
  await hop.close()
  return [...found].map(([concurrency, all]) => summarise(concurrency, all))
}

async function runRound(
  { scene, floor }: Deps,
  sockets: Sockets,
  { name, concurrency, operations }: { name: string; concurrency: Concurrency; operations: number },
): Promise<Round> {
  const bare = (kind: FloorJob['kind']) => floor.run(floorJob(scene, kind, concurrency, operations))
  const both = async (kubelet: Kubelet, importName: ImportName | HopWork): Promise<Pair> => {
    const pods = createPods(scene, { name: `${importName}-${name}`, count: operations, importName })
    const publish = await runLeg(pods, concurrency, (pod) => kubelet.nodePublish(pod))
    const unpublish = await runLeg(pods, concurrency, (pod) => kubelet.nodeUnpublish(pod))
    return { publish, unpublish }
  }
  const behindHop = async (work: HopWork) => (await both(sockets.hop, work)).publish
  const pair = await bare('pair')
  const distinct = await both(sockets.plugin, 'each')
  const hopPair = await behindHop('pair')
  const shared = await both(sockets.plugin, 'one')
  return {
    bare: { pair, login: await bare('login'), read: await bare('read') },
    hop: {
      pair: hopPair,
      'pair-and-tmpfs': await behindHop('pair-and-tmpfs'),
      nothing: await behindHop('nothing'),
    },
    distinct,
    shared,
  }
}

function hopSettings(scene: Scene) {
  return {
    endpoint: `unix://${scene.newFolder('hop')}/csi.sock`,
    address: scene.address,
    loginPath: `auth/${JWT_MOUNT}/login`,
    role: ROLE,
    readPath: SECRET_PATH,
    audience: AUDIENCE,
  }
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
  const leg = (pick: (round: Round) => Leg) => middle(rounds.map(pick))
  const pair = (kind: 'distinct' | 'shared'): Pair => ({
    publish: leg((round) => round[kind].publish),
    unpublish: leg((round) => round[kind].unpublish),
  })
  const ratio = (kind: 'distinct' | 'shared'): Ratio => {
    const to = (pick: (round: Round) => Leg) =>
      median(rounds.map((round) => round[kind].publish.perSecond / pick(round).perSecond))
    return { bare: to((round) => round.bare.pair), hop: to((round) => round.hop.pair) }
  }
  return {
    concurrency,
    bare: {
      login: leg((round) => round.bare.login),
      read: leg((round) => round.bare.read),
      pair: leg((round) => round.bare.pair),
    },
    hop: {
      nothing: leg((round) => round.hop.nothing),
      pair: leg((round) => round.hop.pair),
      'pair-and-tmpfs': leg((round) => round.hop['pair-and-tmpfs']),
    },
    distinct: pair('distinct'),
    shared: pair('shared'),
    ratio: { distinct: ratio('distinct'), shared: ratio('shared') },
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
