/** Messages to the victim's process. */
export type VictimOrder =
  | { kind: 'set-up'; endpoint: string; folder: string; adminAddress: string; rootToken: string }
  | { kind: 'begin' }
  | { kind: 'rest' }
  | { kind: 'finish' }

/** What the victim met; times by nowMs(). */
export type VictimEvent =
  | { kind: 'publish' | 'unpublish' | 'rotation'; what: string; began: number; ms: number }
  /** A call that failed, or a file that was not what it had to be. */
  | { kind: 'error' | 'wrong'; what: string; began: number; ms: number }

export type VictimReport =
  | VictimEvent
  | { kind: 'keys'; issuer: string; publicKeyPem: string }
  | { kind: 'running' | 'resting' | 'finished' }

/** Kubernetes namespace, role, policy and jwt role of the victim. */
export const VICTIM = 'victim'
export const AUDIENCE = 'vault'
export const JWT_MOUNT = 'jwt'
/** Imports that it publishes and unpublishes by turns. */
export const PUBLISHED = ['plain', 'template'] as const

/** The victim's imports by name. The standing ones are looked at every second, by --rotation-interval. */
export const victimImports: Readonly<Record<string, object>> = {
  plain: importOf({
    files: [
      { name: 'user', source: { path: 'secret/data/victim/app', key: 'user' } },
      { name: 'password', source: { path: 'secret/data/victim/app', key: 'password' } },
    ],
  }),
  template: importOf({
    files: [
      {
        name: 'dsn',
        source: { path: 'secret/data/victim/app' },
        template: 'postgres://{{ user | url_encode }}:{{ password | url_encode }}@db/app',
      },
    ],
  }),
  'standing-live': standing({}),
  'standing-inplace': standing({ updateMode: 'InPlace' }),
  'standing-template': standing(
    { updateMode: 'Atomic' },
    { source: { path: 'secret/data/victim/standing' }, template: '{{ value }}' },
  ),
}

function importOf(spec: object): object {
  return { role: VICTIM, authMethod: 'jwt', authPath: JWT_MOUNT, ...spec }
}

function standing(
  more: object,
  file: object = { source: { path: 'secret/data/victim/standing', key: 'value' } },
): object {
  return importOf({ files: [{ name: 'value', ...file }], ...more })
}
