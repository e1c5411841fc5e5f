import { type Attack, runAttacks } from './harness/attack.ts'
import type { Attacker } from './harness/attacker.ts'

// Templates run in the plugin: what they may cost is up to it.

const SIZE = 65_500
const fill = (text: string, size = SIZE) => text.repeat(Math.floor(size / text.length))
const filesOf = (templates: readonly string[]) =>
  templates.map((template, index) => ({ name: `t-${index}`, source: { path: 'attacker1/text' }, template }))

/** Publishes one volume of these templates, which is refreshed every second, and stays for a while. */
const render = (
  name: string,
  templates: readonly string[],
  options: { finding?: number; data?: object; seconds?: number } = {},
): Attack => ({
  name,
  finding: options.finding ?? 5,
  async prepare({ put }) {
    await put('text', { a: 'a', b: 'b', v: 'value', ...options.data })
  },
  async run(attacker: Attacker) {
    // The first that fails would spare the plugin the others: those that differ are imports of their own.
    const groups = new Set(templates).size === 1 ? [templates] : templates.map((template) => [template])
    const strikes = groups.map((group, index) =>
      attacker.strike(`templates-${index}`, { files: filesOf(group), refreshInterval: '1s' }),
    )
    await Promise.all(strikes)
    await attacker.dwell(options.seconds ?? 0)
  },
})

const large = { v: 'ab c'.repeat(250_000) }
const doubling = (tag: string) => `{% assign x = "0123456789" %}${tag.repeat(40)}{{ x | size }}`

const attacks: Attack[] = [
  render('30 templates of 13,000 outputs each', Array(30).fill(fill('{{a}}')), { seconds: 1 }),
  render(
    '30 templates of 5,000 conditions inside each other',
    Array(30).fill(`${fill('{%if a%}', 32_000)}${fill('{%endif%}', 36_000)}`),
  ),
  render('20 templates of 5,000 assigns, captures and cases', [
    ...Array(7).fill(fill('{%assign x=a%}')),
    ...Array(7).fill(fill('{%capture x%}{%endcapture%}')),
    ...Array(6).fill(fill('{%case a%}{%when b%}{%endcase%}')),
  ]),
  render(
    '200 templates that each take nearly the time a template may',
    Array(200).fill('{% for i in (1..40000) %}{% endfor %}{{ a }}'),
    { seconds: 1 },
  ),
  render('loops over a thousand million', [
    '{% for i in (1..1000000000) %}{{ i }}{% endfor %}',
    '{% for i in (1..3000) %}{% for j in (1..3000) %}{% for k in (1..3000) %}{% endfor %}{% endfor %}{% endfor %}',
    '{% tablerow i in (1..1000000) cols:1 %}{{ i }}{% endtablerow %}',
    '{{ (1..100000000) | join: "x" }}',
    '{% for i in (1..2000) %}{% increment n %}{% cycle a, b %}{% endfor %}',
  ]),
  render('doubling by assign, capture, append, concat and replace', [
    doubling('{% assign x = x | append: x %}'),
    doubling('{% capture x %}{{ x }}{{ x }}{% endcapture %}'),
    `{% assign x = "a,b" | split: "," %}${'{% assign x = x | concat: x %}'.repeat(40)}{{ x | size }}`,
    doubling('{% assign x = x | replace: "0", "0000000000" %}'),
    doubling('{% assign x = x | prepend: x | url_encode %}'),
    doubling('{% assign x = x | json | json %}'),
  ]),
  render(
    '1 MB split, sorted, made unique, joined and replaced by itself',
    [
      '{{ v | split: "" | sort | join: "0123456789" }}',
      '{{ v | split: "" | uniq | size }}',
      '{{ v | replace: "a", v | size }}',
      '{{ v | split: "" | reverse | sort_natural | join: v | size }}',
      '{{ v | split: " " | map: "size" | json }}',
      '{{ v | split: "" | group_by: "size" | json }}',
    ],
    { data: large },
  ),
  render(
    'filters that are patterns, over values made for them',
    [
      '{{ tags | strip_html | size }}',
      '{{ comments | strip_html | size }}',
      '{{ spaces | rstrip | size }}',
      '{{ spaces | strip | size }}',
      '{{ spaces | normalize_whitespace | size }}',
      '{{ spaces | truncatewords: 3 | size }}',
      '{{ spaces | slugify | size }}',
      '{{ spaces | strip_newlines | newline_to_br | size }}',
      '{{ tags | escape_once | escape | size }}',
      '{{ percent | url_decode | size }}',
    ],
    {
      data: {
        tags: '<script'.repeat(60_000),
        comments: '<!--'.repeat(100_000),
        spaces: `x${' '.repeat(400_000)}x`,
        percent: '%41'.repeat(100_000),
      },
    },
  ),
  render(
    'dates and numbers of a thousand million places',
    [
      '{{ "now" | date: "%999999999Y" }}',
      `{{ "now" | date: "${'%-50000d'.repeat(2_000)}" }}`,
      '{{ "now" | date: fmt }}',
      '{{ 1 | divided_by: 3 | round: 1000000000 }}',
      '{{ a | json: 1000000000 }}',
      '{{ v | slice: 0, 1000000000 | truncate: 1000000000 }}',
      '{{ a | times: 1e308 | times: 1e308 }}',
    ],
    { data: { fmt: '%100000Y'.repeat(10_000) } },
  ),
  render('a date that is another one at each refresh', ['{{ "now" | date: "%s%N" }}{{ a }}'], {
    finding: 17,
    seconds: 2.5,
  }),
  render(
    'names of Object.prototype',
    [
      '{{ constructor.name }}',
      '{{ __proto__ }}',
      '{{ data.constructor.constructor }}',
      '{{ data["__proto__"] | json }}',
      '{{ a | constructor }}',
      '{{ a | __proto__ }}',
      '{{ a.constructor.constructor.name }}',
      '{% constructor %}',
      '{% assign __proto__ = a %}{{ __proto__ }}',
      '{% for i in data.__proto__ %}{{ i }}{% endfor %}',
      '{{ a | map: "constructor" }}',
      '{{ toString }}',
      '{{ data | where: "constructor" }}',
    ],
    { finding: 1 },
  ),
  render('broken templates: tags, quotes and filters without an end', [
    fill('{% if '),
    fill('{{ "'),
    fill('{% raw %}{% '),
    fill('{{ a | '),
    fill('{{ a | append: a'),
    fill('{%comment%}'),
    fill('{%-'),
    fill('{{ data['),
    `{{ a${fill('.a', 60_000)} }}`,
    `{{ ${fill('(', 60_000)} }}`,
    `{{ a ${fill('| size ', 60_000)} }}`,
    `{% if ${fill('a and ', 60_000)} a %}{% endif %}`,
  ]),
  {
    name: 'a new text of the same 30 templates ten times',
    finding: 5,
    async prepare({ put }) {
      await put('text', { a: 'a' })
    },
    async run(attacker) {
      for (let edit = 0; edit < 10; edit++) {
        await attacker.import('edited', { files: filesOf(Array(30).fill(`${edit}${fill('{{a}}', 30_000)}`)) })
        await attacker.dwell(0.3)
      }
    },
  },
  {
    name: '12 pods at once, each with 20 templates that do not end',
    finding: 5,
    async prepare({ put }) {
      await put('text', { a: 'a' })
    },
    async run(attacker) {
      const endless = '{% for i in (1..9000) %}{% for j in (1..9000) %}{% endfor %}{% endfor %}'
      for (let pod = 0; pod < 12; pod++) {
        await attacker.import(`endless-${pod}`, {
          files: filesOf(Array(20).fill(`${endless}${pod}`)),
          refreshInterval: '1s',
        })
      }
      await Promise.all(
        Array.from({ length: 12 }, (_, pod) => attacker.attempt({ importName: `endless-${pod}` })),
      )
    },
  },
  {
    name: 'the first templates of a process meet a processor that stands still',
    finding: 8,
    stops: true,
    restarts: true,
    async run(attacker) {
      const { stage } = attacker
      const template = { source: { path: 'attacker1/text' }, template: '{{ a }}' }
      await attacker.put('text', { a: 'a' })
      await attacker.import('first', { files: [{ name: 'first', ...template }] })
      // As a cgroup without time left does: stopped for 700 ms again and again.
      await attacker.restart()
      const { pid } = stage.plugin()
      const throttled = (async () => {
        for (let stop = 0; stop < 4; stop++) {
          process.kill(pid, 'SIGSTOP')
          await attacker.dwell(0.7)
          process.kill(pid, 'SIGCONT')
          await attacker.dwell(0.05)
        }
      })()
      const attempts = Array.from({ length: 10 }, () => attacker.attempt({ importName: 'first' }))
      await throttled
      await Promise.all(attempts)
      const { error } = await attacker.attempt({ importName: 'first' })
      attacker.expect(
        error === undefined,
        `a good template is refused for ever: ${error?.message.slice(0, 200)}`,
      )
    },
  },
]

await runAttacks('templates', attacks)
