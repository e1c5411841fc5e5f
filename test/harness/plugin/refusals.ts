import type { Test } from 'tap'
import type { PodWish } from '../kubelet/pod-volume.ts'
import { until } from '../until.ts'
import type { RealNode } from './real-node.ts'

export type Refusal = {
  /** Of the import, beside a file `db-password` from key `password` of `path`. */
  spec?: object
  path?: string
  key?: string
  file?: object
  wish?: Partial<PodWish>
  /** gRPC status. */
  code: string
  /** What the text must name. */
  says: readonly (string | RegExp)[]
}

/** Provokes the errors that users meet, as kubelet gets them. */
export type Refusals = {
  /** Publishes a volume that must be refused, and holds the error against what its reader needs. */
  refused(t: Test, refusal: Refusal): Promise<void>
  /** What every error of a login must name. */
  tried(role?: string, mount?: string, account?: string): string[]
  /** Holds the log against the refusals so far. @param more how many were made in other ways */
  checkLog(t: Test, more?: number): Promise<void>
}

/** Secrets of tests that use this have `canary` in them. */
export function createRefusals(node: RealNode): Refusals {
  const { front } = node
  let count = 0

  function holdsNoSecret(t: Test, text: string): void {
    t.notMatch(text, /canary|eyJ|\b(hv[sbr]|[sbr])\.[A-Za-z0-9]{20}/, 'no secret, no token')
    for (const token of front.tokens) if (text.includes(token)) t.fail('a Vault token')
  }

  return {
    async refused(t, { spec, path = 'secret/data/app', key = 'password', file, wish, code, says }) {
      count += 1
      const importName = `import-${count}`
      const files = [{ name: 'db-password', source: { path, key }, ...file }]
      await node.writeImport(importName, { role: 'app', files, ...spec })
      const error = await node.refusal({ importName, ...wish })
      t.equal(error.code, code, error.details)
      for (const part of says) {
        if (typeof part === 'string') t.ok(error.details.includes(part), `${part} in: ${error.details}`)
        else t.match(error.details, part)
      }
      t.match(error.details, /; next: \S/)
      holdsNoSecret(t, error.details)
    },

    tried: (role = 'app', mount = 'kubernetes', account = 'shop/backend') => [
      `address ${front.address}`,
      `auth mount "${mount}"`,
      `role "${role}"`,
      `service account "${account}"`,
      'audience "vault"',
    ],

    async checkLog(t, more = 0) {
      const logged = () => node.log().filter(({ msg }) => msg === 'call failed')
      const failures = await until(
        'the last line of the log',
        () => logged().length >= count + more && logged(),
      )
      t.equal(failures.length, count + more, 'each was logged once')
      for (const { pod, volumeId, code, error } of failures) {
        const wanted = { pod: { namespace: /./ }, volumeId: /^csi-/, code: /^[A-Z_]+$/ }
        t.match({ pod, volumeId, code }, wanted)
        holdsNoSecret(t, JSON.stringify(error))
      }
    },
  }
}
