import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TokenIssuer } from '../pki/token-issuer.ts'
import { AUDIENCE, NAMESPACE } from '../vault/real-vault.ts'
import type { PublishArgs } from './kubelet.ts'

/** What a test says of a pod's volume; the rest is made up. */
export type PodWish = Partial<Omit<PublishArgs, 'pod'>> & {
  importName: string
  namespace?: string
  serviceAccount?: string
}

/** One volume of one pod, as kubelet knows it. */
export type PodVolume = {
  readonly args: PublishArgs
  readonly target: string
  path(file: string): string
  read(file: string): string
  /** Names as an application lists them: without those that begin with `..`. */
  names(): string[]
}

let count = 0

/**
 * A new pod's volume under `folder`, whose target directory has its parent as kubelet makes it.
 * The token is one that the API server would hand out for the pod.
 */
export function podVolume(folder: string, issuer: TokenIssuer, wish: PodWish): PodVolume {
  const { namespace = NAMESPACE, serviceAccount = 'backend', ...given } = wish
  count += 1
  const pod = { name: `app-${count}`, uid: `uid-${count}`, namespace, serviceAccount }
  const args: PublishArgs = {
    volumeId: `csi-${count}`,
    targetPath: join(folder, 'pods', pod.uid, 'volumes/kubernetes.io~csi/secrets/mount'),
    pod,
    tokens: tokensFor(issuer, pod),
    ...given,
  }
  const target = args.targetPath
  mkdirSync(dirname(target), { recursive: true })
  const path = (file: string) => join(target, file)
  return {
    args,
    target,
    path,
    read: (file) => readFileSync(path(file), 'utf8'),
    names: () => readdirSync(target).filter((name) => !name.startsWith('..')),
  }
}

/** Fresh tokens, as kubelet brings them at each publish. */
export function tokensFor(
  issuer: TokenIssuer,
  pod: PublishArgs['pod'],
  audience = AUDIENCE,
): NonNullable<PublishArgs['tokens']> {
  const { namespace, serviceAccount, name, uid } = pod
  const token = issuer.issue({ namespace, serviceAccount, audience, pod: { name, uid } })
  return { [audience]: { token, expirationTimestamp: new Date(Date.now() + 600_000).toISOString() } }
}
