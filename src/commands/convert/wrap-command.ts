import { isSeq, Scalar } from 'yaml'
import type { Environment } from './bank-vaults-environment.ts'
import { changed, toDo } from './comment.ts'
import { addComment, setMember } from './edit.ts'
import { at, listAt, textAt } from './value.ts'
import type { Container, Workload } from './workload.ts'

/** What a shell does before it becomes the container's own program. */
export type Preparation = {
  /** Files with `export NAME=…` lines. */
  files: readonly string[]
  /** Variables that hold the Vault token. */
  tokens: readonly string[]
  tokenFile: string
}

const PLACEHOLDER = 'IMAGE-ENTRYPOINT'

/**
 * Puts a shell before the command, which itself stays as it is, word by word, and so do the args: to quote it for the
 * shell would give every character a second meaning, and break what kubelet puts in for $(NAME).
 */
export function wrapCommand(
  workload: Workload,
  container: Container,
  { files, tokens, tokenFile }: Preparation,
): void {
  const { document } = workload
  const path = [...container.path, 'command']
  const steps = [
    ...files.map((file) => `. ${file}`),
    ...tokens.map((name) => `export ${name}="$(cat ${tokenFile})"`),
    'exec "$@"',
  ]
  const script = new Scalar(steps.join('; '))
  // It has blanks, dots and dollars: quotes tell a reader where it ends.
  script.type = 'QUOTE_SINGLE'
  const shell = ['sh', '-c', script, 'sh']
  const command = listAt(container.value, 'command')
  const notes = [
    changed('the variables are set by sh, which the image must have, once when the container starts'),
  ]
  if (command.length === 0) {
    const missing = listAt(container.value, 'args').length > 0 ? 'ENTRYPOINT' : 'ENTRYPOINT and CMD'
    notes.push(
      toDo(
        `write the image's own ${missing}, which the container does not name, in place of ${PLACEHOLDER}; docker image inspect shows ${missing.length > 10 ? 'them' : 'it'}`,
      ),
    )
  }
  const own = document.getIn(path, true)
  if (command.length > 0 && isSeq(own)) own.items.unshift(...shell.map((word) => document.createNode(word)))
  else
    setMember(document, container.path, 'command', document.createNode([...shell, PLACEHOLDER]), [
      'image',
      'name',
    ])
  addComment(document, path, notes)
}

/** What still counts on variables that the container's environment no longer has. */
export function orphans(container: Container, { variables }: Environment, file: string): string[] {
  const gone = variables.filter(({ index }) => index !== undefined).map(({ name }) => name)
  const rest = listAt(container.value, 'env').filter((entry) => !gone.includes(textAt(entry, 'name') ?? ''))
  const texts = [
    ...listAt(container.value, 'command'),
    ...listAt(container.value, 'args'),
    ...rest.map((entry) => textAt(entry, 'value')),
  ].filter((text) => typeof text === 'string')
  const used = gone.filter((name) => texts.some((text) => text.includes(`$(${name})`)))
  const probes = ['livenessProbe', 'readinessProbe', 'startupProbe'].filter((name) =>
    at(container.value, name, 'exec'),
  )
  return [
    ...used.map((name) =>
      toDo(`$(${name}) is nothing that kubelet can fill in any more: have a shell say "$${name}" there`),
    ),
    ...(probes.length > 0 && gone.length > 0
      ? [
          toDo(
            `the command of ${probes.join(' and ')} does not see the variables: have it load ${file} first`,
          ),
        ]
      : []),
  ]
}
