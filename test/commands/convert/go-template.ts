// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of Bank-Vaults contain them
import t from 'tap'
import { translateGoTemplate } from '../../../src/commands/convert/go-template.ts'
import { BRACES, DOLLAR_BRACE } from '../../../src/commands/convert/go-tokens.ts'
import { type Part, toLiquid } from '../../../src/commands/convert/liquid.ts'
import { createTemplates } from '../../../src/core/render/template.ts'
import { templateScope } from '../../../src/core/render/template-scope.ts'

const KEYS = new Map<string, string>([
  ['password', 's3cr{{et'],
  ['user', 'app'],
  ['with-dash', 'd'],
  ['base', 'cGxhaW4='],
])

const UNNAMED = { nameOf: () => undefined, names: [] }

/** The result of a translated Go template, with KEYS in Vault. */
function rendered(template: string): string {
  const translated = translateGoTemplate(template, BRACES)
  if ('fault' in translated) return `fault: ${translated.fault}`
  return createTemplates().render('f', toLiquid(translated.parts, UNNAMED), templateScope(KEYS, new Map()))
}

// The text on the right is consul-template's result.
const same: [template: string, text: string][] = [
  ['{{ with secret "secret/data/a" }}{{ .Data.data.password }}{{ end }}', 's3cr{{et'],
  ['{{- with secret "secret/data/a" -}}\n  {{ .Data.data.user }}\n{{- end }}\n', 'app\n'],
  ['a  {{- with secret "database/creds/a" }} {{ .Data.user -}}  b {{ end }}c', 'a appb c'],
  ['{{ with secret "kv/a" }}{{ index .Data "with-dash" }}{{ end }}', 'd'],
  ['{{ with secret "secret/data/a" }}{{ index .Data.data "with-dash" }}{{ end }}', 'd'],
  ['{{ with $s := secret "secret/data/a" }}{{ $s.Data.data.user }}{{ end }}', 'app'],
  ['{{ $s := secret "secret/data/a" }}{{ $s.Data.data.user }}!', 'app!'],
  ['{{ with secret "secret/data/a" }}{{ .Data.data.base | base64Decode | toUpper }}{{ end }}', 'PLAIN'],
  ['{{ with secret "secret/data/a" }}{{ base64Decode .Data.data.base }}{{ end }}', 'plain'],
  ['{{ with secret "secret/data/a" }}{{ .Data.data.user | replaceAll "p" "-" }}{{ end }}', 'a--'],
  [
    '{{ with secret "kv/a" }}{{ range $k, $v := .Data }}{{ $k }}={{ $v }};{{ end }}{{ end }}',
    'password=s3cr{{et;user=app;with-dash=d;base=cGxhaW4=;',
  ],
  [
    '{{ with secret "secret/data/a" }}{{ range $k, $v := .Data.data }}{{ $k | toUpper }} {{ end }}{{ end }}',
    'PASSWORD USER WITH-DASH BASE ',
  ],
  [
    '{{ with secret "kv/a" }}{{ "{{" }} {% no tag %} {{ `raw` }} {{ .Data.user }}{{ end }}',
    '{{ {% no tag %} raw app',
  ],
  ['{{/* a comment */}}{{ with secret "kv/a" }}{{ .Data.user }}{{ end }}', 'app'],
]
for (const [template, text] of same) {
  t.test(`${template} renders as before`, async (t) => t.equal(rendered(template), text))
}

t.test('a whole answer becomes JSON', async (t) => {
  const text = rendered('{{ with secret "secret/data/a" }}{{ .Data.data | toJSON }}{{ end }}')
  t.same(JSON.parse(text), Object.fromEntries(KEYS))
})

function callsOf(template: string): unknown[] {
  const translated = translateGoTemplate(template, BRACES)
  const parts: Part[] = 'parts' in translated ? translated.parts : []
  return parts.flatMap((part) => ('call' in part ? [part.call] : []))
}

t.test('arguments make the call a write of these values', async (t) => {
  t.match(
    callsOf(
      '{{ with secret "pki/issue/web" "common_name=a.b" "alt_names=x=y" }}{{ .Data.private_key }}{{ end }}',
    ),
    [
      {
        path: 'pki/issue/web',
        method: 'PUT',
        data: { common_name: 'a.b', alt_names: 'x=y' },
        version: undefined,
      },
    ],
  )
  t.match(callsOf('{{ with pkiCert "pki/issue/web" "common_name=a.b" }}{{ .Key }}{{ end }}'), [
    { path: 'pki/issue/web', method: 'PUT', data: { common_name: 'a.b' } },
  ])
  t.match(callsOf('{{ with secret "secret/data/a?version=3" }}{{ .Data.data.a }}{{ end }}'), [
    { path: 'secret/data/a', method: 'GET', version: 3 },
  ])
})

t.test('fields of pkiCert become keys of the answer', async (t) => {
  const translated = translateGoTemplate(
    '{{ with pkiCert "pki/issue/a" }}{{ .Key }}{{ .Cert }}{{ .CA }}{{ end }}',
    BRACES,
  )
  const keys =
    'parts' in translated ? translated.parts.map((part) => ('keys' in part ? part.keys : part)) : []
  t.same(keys, [['private_key'], ['certificate'], ['issuing_ca']])
})

t.test('the data/ that consul-template adds to the path is written out, with a note', async (t) => {
  const translated = translateGoTemplate(
    '{{ with secret "secret/team/a" }}{{ .Data.data.user }}{{ end }}',
    BRACES,
  )
  t.match(translated, {
    parts: [{ call: { path: 'secret/data/team/a' }, keys: ['user'] }],
    notes: [/added data\/ to/],
  })
})

// None of these may be translated in part.
const lost: [template: string, fault: RegExp][] = [
  [
    '{{ with secret "kv/a" }}{{ if .Data.user }}a{{ end }}{{ end }}',
    /cannot translate {{ if \.Data\.user }}/,
  ],
  ['{{ with secret "kv/a" }}a{{ else }}b{{ end }}', /cannot translate {{ else }}/],
  ['{{ with secret "secret/data/a" }}{{ .Data.metadata.version }}{{ end }}', /\.Data\.metadata\.version/],
  [
    '{{ with secret "secret/data/a" }}{{ range $k, $v := .Data }}{{ $k }}{{ end }}{{ end }}',
    /range \$k, \$v := \.Data }}/,
  ],
  ['{{ with secret "kv/a" }}{{ range .Data.list }}{{ . }}{{ end }}{{ end }}', /range \.Data\.list/],
  ['{{ with secret "kv/a" }}{{ .LeaseID }}{{ end }}', /\.LeaseID/],
  ['{{ with secret "kv/a" }}{{ .Data.user | sha256Hex }}{{ end }}', /sha256Hex/],
  ['{{ with secret (printf "kv/%s" "a") }}{{ .Data.user }}{{ end }}', /printf/],
  ['{{ with secret "kv/a b" }}{{ .Data.user }}{{ end }}', /characters that/],
  ['{{ with secret "kv/a" "no-value" }}{{ .Data.user }}{{ end }}', /no-value/],
  ['{{ with secret "kv/a" }}{{ .Data.user | toString }}{{ end }}', /toString/],
  ['{{ with pkiCert "pki/issue/a" }}{{ .constructor }}{{ end }}', /constructor/],
  ['{{ .Data.user }}', /\.Data\.user/],
  ['{{ $x.Data.user }}', /\$x/],
  ['{{ env "HOME" }}', /env "HOME"/],
  ['{{ with secret "kv/a" }}{{ .Data.user }}', /a block without its end/],
  ['{{ with secret "kv/a" }}{{ .Data.user', /without its }}/],
  ['{{ end }}', /cannot translate {{ end }}/],
]
for (const [template, fault] of lost) {
  t.test(`${template} is not translated`, async (t) => {
    t.match(translateGoTemplate(template, BRACES), { fault })
  })
}

t.test('keys of Bank-Vaults have other delimiters, and refer to the keys directly', async (t) => {
  const call = { path: 'kv/a', method: 'GET', data: undefined, version: undefined } as const
  const translated = translateGoTemplate('user ${.user} of ${ .base | b64dec }', DOLLAR_BRACE, call)
  const liquid = 'parts' in translated ? toLiquid(translated.parts, UNNAMED) : ''
  t.equal(liquid, 'user {{ user }} of {{ base | base64_decode }}')
})

t.test('keys that collide with Liquid or a source are written with data', async (t) => {
  const call = { path: 'kv/a', method: 'GET', data: undefined, version: undefined } as const
  const liquid = (key: string) =>
    toLiquid([{ call, keys: [key], filters: [] }], { nameOf: () => undefined, names: ['web'] })
  t.equal(liquid('plain'), '{{ plain }}')
  t.equal(liquid('my-key'), '{{ data["my-key"] }}')
  t.equal(liquid('a"b'), `{{ data['a"b'] }}`)
  t.equal(liquid('web'), '{{ data.web }}')
  t.equal(liquid('data'), '{{ data.data }}')
  t.equal(liquid('true'), '{{ data.true }}')
})
