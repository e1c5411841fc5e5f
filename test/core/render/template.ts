import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { createTemplates } from '../../../src/core/render/template.ts'
import { templateScope } from '../../../src/core/render/template-scope.ts'
import { faultOf, secretOf } from '../../harness/specs.ts'

const own = secretOf(
  `{"user":"canary-user","password":"canary w+/?#'\\"","big":9007199254740993,"price":1.10,"port":5432,"none":null,"when":"now",
    "my-key":"mine","hosts":["canary-a","canary-b"],"tls":{"ca":"canary-ca","deep":{"k":1}},"__proto__":"odd"}`,
).values
const web = secretOf('{"certificate":"canary-cert","chain":["canary-1"]}').values
const scope = templateScope(own, new Map([['web', web]]))

function render(template: string): string {
  return createTemplates().render('f', template, scope)
}

/** The fault's message. Checks that no printable part of the fault contains a value. */
function failure(t: Test, template: string): string {
  const error = faultOf(() => render(template))
  const name = template.slice(0, 80)
  t.equal(error.fault, 'template_failed', name)
  t.equal(error.cause, undefined)
  t.notMatch(inspect(error, { depth: 9, showHidden: true }), /canary/, name)
  return error.message
}

t.test('variables are keys, all keys, sources and their members', async (t) => {
  t.equal(render('{{ user }}@{{ data.user }}@{{ data["user"] }}'), 'canary-user@canary-user@canary-user')
  t.equal(render('{{ data["my-key"] }} {{ my-key }}'), 'mine mine')
  t.equal(
    render('{{ web.certificate }} {{ web.chain[0] }} {{ web["chain"].first }}'),
    'canary-cert canary-1 canary-1',
  )
  t.equal(render('{{ tls.deep.k }} {{ hosts[1] }} {{ hosts | size }}'), '1 canary-b 2')
})

t.test('loops, conditions, captures and assigns work', async (t) => {
  t.equal(
    render(
      '{% for h in hosts %}{{ forloop.index }}{{ h }}{% unless forloop.last %},{% endunless %}{% endfor %}',
    ),
    '1canary-a,2canary-b',
  )
  t.equal(render('{% assign p = port | plus: 1 %}{% capture c %}<{{ p }}>{% endcapture %}{{ c }}'), '<5433>')
  t.equal(render('{%- if port > 5000 and user contains "user" -%} yes {%- else -%} no {%- endif -%}'), 'yes')
  t.equal(
    render(
      '{% case port %}{% when 5432 %}pg{% endcase %}{% raw %}{{ x }}{% endraw %}{% comment %}c{% endcomment %}',
    ),
    'pg{{ x }}',
  )
})

t.test('numbers keep the literal that Vault sent', async (t) => {
  t.equal(render('{{ big }} {{ price }} {{ port }}'), '9007199254740993 1.10 5432')
  t.equal(render('{{ big | json }} {{ price | json }}'), '9007199254740993 1.10')
  t.equal(render('{% if price > 1 %}more{% endif %} {{ price | plus: 1 }}'), 'more 2.1')
})

t.test('the filter json is exact, at any depth', async (t) => {
  const json = '{"a":[1,2.50,null,true,"x\\"y"],"b":{"9":1e400,"__proto__":{"toJSON":"t"},"constructor":"c"}}'
  const value = templateScope(secretOf(`{"v":${json}}`).values, new Map())
  t.equal(createTemplates().render('f', '{{ v | json }}', value), json)
  t.equal(createTemplates().render('f', '{{ data | json }}', value), `{"v":${json}}`)
})

t.test('url_encode encodes every character that is special in a URL', async (t) => {
  const reserved = ':/?#[]@!$&\'()*+,;=% "<>\\^`{|}é😀'
  const values = templateScope(secretOf(JSON.stringify({ reserved, n: 5 })).values, new Map())
  const encoded = createTemplates().render('f', '{{ reserved | url_encode }}', values)
  t.match(encoded, /^(%[0-9A-F]{2})+$/)
  t.equal(decodeURIComponent(encoded), reserved)
  t.equal(
    createTemplates().render('f', '{{ "aZ09-._~" | url_encode }}{{ n | url_encode }}', values),
    'aZ09-._~5',
  )
  const url = new URL(
    createTemplates().render('f', 'postgres://u:{{ reserved | url_encode }}@db/app', values),
  )
  t.equal(decodeURIComponent(url.password), reserved)
})

t.test('shell_quote makes one shell word', async (t) => {
  t.equal(render('{{ "it\'s $x" | shell_quote }}'), "'it'\\''s $x'")
})

t.test('base64 is encoded and decoded', async (t) => {
  t.equal(render('{{ "é" | base64_encode }} {{ "w6k=" | base64_decode }}'), 'w6k= é')
})

t.test('an unknown name is reported with the names available at that level', async (t) => {
  t.match(
    failure(t, 'a\n{{ usr }}'),
    /there is no "usr" \(line 2\); there exist "user", "password".*"data", "web"/,
  )
  t.match(
    failure(t, '{{ web.certificat }}'),
    /there is no "web.certificat" \(line 1\); there exist "certificate", "chain";/,
  )
  t.match(failure(t, '{{ tls.deep.kk.x }}'), /there is no "tls\.deep\.kk" .*; there exist "k";/)
  t.match(failure(t, '{{ data["my_key"] }}'), /there is no "data\.my_key" .*"my-key"/)
  t.match(failure(t, '{{ user | append: missing }}'), /there is no "missing"/)
  t.match(failure(t, '{% for one in missing %}{% endfor %}'), /there is no "missing"/)
  t.match(
    failure(t, '{% for h in hosts %}{{ h.name }}{% endfor %}'),
    /there is no "h\.name" \(line 1\); next/,
  )
  t.match(failure(t, '{% assign x = missing %}{{ x }}'), /there is no "missing"/)
  t.match(failure(t, '{{ hosts[7] }}'), /there is no "hosts/)
})

t.test('an unknown name is allowed in a condition or with a default', async (t) => {
  t.equal(render('{% if missing %}a{% elsif web.missing.deep %}b{% else %}c{% endif %}'), 'c')
  t.equal(render('{% unless missing %}a{% endunless %}'), 'a')
  t.equal(render('{{ missing | default: "d" }}{{ web.missing | default: user }}'), 'dcanary-user')
  t.equal(render('{% assign x = missing | default: 5 %}{{ x }}'), '5')
})

t.test('a value without text is refused instead of omitted', async (t) => {
  t.match(failure(t, '{{ none }}'), /"\{\{ none \}\}" in line 1 has no value/)
  t.match(
    failure(t, '{{ tls }}'),
    /is a list or an object: name one of its values, or write it with the filter json/,
  )
  t.match(failure(t, '{{ hosts }}'), /is a list or an object/)
  t.match(failure(t, '{{ web | url_encode }}'), /is a list or an object/)
  t.match(failure(t, '{{ tls | raw }}'), /is a list or an object/)
  t.equal(render('{{ none | default: "d" }}{{ hosts | join: "," }}'), 'dcanary-a,canary-b')
})

t.test('no failure reveals a value', async (t) => {
  for (const template of [
    '{{ data[user] }}',
    '{{ [user] }}',
    '{{ data[user][password].x }}',
    '{{ user | base64_decode }}{{ web.chain.first | append: "=" | base64_decode }}',
    '{{ user | append }}',
    '{{ password | append: "%" | url_decode }}',
    '{{ user | date: hosts, tls }}{{ tls | date: user }}',
    '{{ hosts | join: tls }}',
    '{{ tls | split: user }}',
    '{{ user | strip_html | truncate: tls }}{{ tls | upcase }}',
    '{% for i in (user..password) %}{{ i }}{% endfor %}{{ nothing }}',
    '{% for i in hosts limit: tls %}{{ i.x }}{% endfor %}',
    '{% cycle tls: user, password %}{% cycle none %}',
    '{% increment web %}{{ web.certificate }}',
    '{% for i in (1..2) %}{{ forloop.constructor }}{% endfor %}',
    '{% capture c %}{% for i in (1..1000) %}{{ user }}{% endfor %}{% endcapture %}{% for i in (1..1000) %}{{ c }}{% endfor %}',
    '{% liquid\n echo user\n echo nothing\n%}',
    '{% tablerow x in hosts cols: user %}{{ x.y }}{% endtablerow %}',
    '{{ user | where_exp: "x", password }}',
  ]) {
    failure(t, template)
  }
})

t.test('members of JavaScript objects are not variables', async (t) => {
  for (const name of ['constructor', 'toString', 'hasOwnProperty', '__defineGetter__', 'valueOf']) {
    for (const place of ['', 'data.', 'web.', 'tls.', 'user.', 'hosts.', 'price.']) {
      t.match(failure(t, `{{ ${place}${name} }}`), /there is no/)
    }
  }
  for (const place of ['web.', 'tls.', 'user.', 'hosts.'])
    t.match(failure(t, `{{ ${place}__proto__ }}`), /there is no/)
  t.equal(render('{{ __proto__ }}{{ data.__proto__ }}'), 'oddodd', 'and a key of such a name is a key')
  t.equal(render('{% assign __proto__ = tls %}{{ __proto__.ca }}{{ user }}'), 'canary-cacanary-user')
  t.equal(Reflect.get({}, 'ca'), undefined)
})

t.test('a template does not affect the next one', async (t) => {
  render('{% assign user = 1 %}{% increment password %}{% capture web %}x{% endcapture %}')
  t.equal(render('{{ user }}{{ web.certificate }}'), 'canary-usercanary-cert')
})

t.test('too much output is refused', async (t) => {
  for (const template of [
    '{% for i in (1..1000000000) %}{% endfor %}',
    '{{ (1..1000000000) | join: "," }}',
    `{% for i in (1..100000) %}${'x'.repeat(60_000)}{% endfor %}`,
    `{% capture c %}{% for i in (1..100000) %}${'%'.repeat(60_000)}{% endfor %}{% endcapture %}{{ c | url_encode }}`,
    `{{ "%" ${'| url_encode'.repeat(5000)} }}`,
    `{% assign s = "aaaaaaaaaa" %}${'{% assign s = s | append: s %}'.repeat(40)}`,
    '{{ 5 | date: "%1000000000Y" }}',
  ]) {
    t.match(failure(t, template), /it makes too much text/)
  }
})

t.test('a file depends on values only: the current time is refused', async (t) => {
  for (const name of [
    'date',
    'date_to_xmlschema',
    'date_to_rfc822',
    'date_to_string',
    'date_to_long_string',
  ]) {
    for (const value of ['"now"', '"today"', 'when']) {
      t.match(failure(t, `{{ ${value} | ${name}: "%Y" }}`), /asks for the present time/)
    }
  }
  t.equal(render('{{ 1700000000 | date: "%Y" }} {{ "2024-05-06T07:08:09Z" | date: "%Y" }}'), '2023 2024')
  t.equal(
    render('{{ "2024-05-06T07:08:09Z" | date: "%H:%M", 0 }} {{ user | date: "%Y" }}'),
    '07:08 canary-user',
  )
})

t.test(
  'all templates of an import share an engine, and a fault in one does not affect the next',
  async (t) => {
    const templates = createTemplates()
    t.match(templates.check('{% if a %}'), { fault: /not closed/ })
    t.throws(() => templates.render('f', '{% capture c %}{{ nothing }}{% endcapture %}', scope))
    t.equal(templates.render('f', '{{ user }}{{ c | default: "-" }}', scope), 'canary-user-')
    t.equal(templates.check('{{ a }}'), templates.check('{{ a }}'), 'a template is read once')
  },
)

t.test('a syntax error is reported with its line', async (t) => {
  for (const [template, fault] of [
    ['a\n{{ b', 'output "{{ b" not closed, line:2, col:1'],
    ['{% if a %}', 'tag {% if a %} not closed, line:1, col:1'],
    ['\n\n{% foo %}', 'tag "foo" not found, line:3, col:1'],
    ['{{ a | foo }}', 'undefined filter: foo, line:1, col:1'],
    ['{{ a | sample }}', 'undefined filter: sample, line:1, col:1'],
    ['{{ a | find_exp: "x", "x.y" }}', 'undefined filter: find_exp, line:1, col:1'],
    ['x'.repeat(65_537), 'parse length limit exceeded'],
  ] as const) {
    t.strictSame(createTemplates().check(template), { fault })
  }
  for (const tag of ['include', 'render', 'layout', 'block']) {
    t.match(createTemplates().check(`{% ${tag} "/etc/passwd" %}`), {
      fault: `tag "${tag}" reads a file, which a template here cannot`,
    })
  }
  t.match(createTemplates().check('{%if a%}'.repeat(8000)), { fault: /./ }, 'however deep')
})

t.test('check lists every variable that a template may use', async (t) => {
  for (const [template, names] of [
    ['{{ a }}{{ b.c.d }}{{ e["f"].g }}{{ h[i.j] }}', 'a b e h i'],
    ['{{ a | append: b.c | default: d }}', 'a b d'],
    ['{% for x in web.chain limit: n %}{{ x }}{{ y }}{% endfor %}', 'web n x y'],
    ['{% for i in (low..high) %}{% endfor %}', 'low high'],
    ['{% if a and b.c contains d %}{% elsif e %}{% else %}{{ f }}{% endif %}', 'a b d e f'],
    ['{% case a %}{% when b %}{{ c }}{% endcase %}{% unless d %}{% endunless %}', 'a b c d'],
    ['{% capture x %}{{ a.b }}{% endcapture %}', 'a'],
    ['{% if a %}{% assign web = b %}{% endif %}{{ web.c }}', 'a b web'],
    ['{{ web.a }}{% assign web = 1 %}', 'web'],
    ['{{ ["web"].a }}', 'web'],
    ['{% liquid\n echo a.b\n assign c = d\n%}', 'a d'],
    ['{% raw %}{{ a }}{% endraw %}{% comment %}{{ b }}{% endcomment %}c', ''],
  ] as const) {
    const checked = createTemplates().check(template)
    t.strictSame(
      'names' in checked ? [...checked.names].sort() : checked,
      names.split(' ').filter(Boolean).sort(),
      template,
    )
  }
})
