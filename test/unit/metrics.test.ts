import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { METRICS, type MetricName, silentMetrics } from '../../src/shared/status/metrics.ts'
import { createMetrics } from '../../src/shared/status/prometheus.server.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8')
const declared = Object.entries(METRICS) as Array<[MetricName, (typeof METRICS)[MetricName]]>

test('names say the unit, and counters end in _total', () => {
  for (const [name, { type, unit }] of declared) {
    assert.match(name, /^muster_[a-z0-9_]+$/)
    assert.equal(name.endsWith('_total'), type === 'counter', name)
    if (unit === 'seconds' || unit === 'bytes') assert.match(name, new RegExp(`_${unit}(_total)?$`))
  }
})

test('no label can grow with what strangers send', () => {
  for (const [name, { labels }] of declared) {
    for (const [label, values] of Object.entries(labels)) {
      assert.doesNotMatch(label, /peer|topic|address|key/, name)
      if (values === 'constant') assert.equal(`${name}.${label}`, 'muster_info.version')
    }
  }
})

test('counters count by label, from 0 on', async () => {
  const metrics = await createMetrics()
  metrics.increment('muster_messages_total', { direction: 'out', outcome: 'delivered' })
  metrics.increment('muster_messages_total', { direction: 'out', outcome: 'delivered' }, 2)
  metrics.increment('muster_bootstrap_redials_total')
  metrics.increment('muster_bootstrap_redials_total', {}, 4)
  const text = await metrics.text()
  assert.match(text, /^muster_messages_total\{direction="out",outcome="delivered"\} 3$/m)
  assert.match(text, /^muster_messages_total\{direction="in",outcome="failed"\} 0$/m)
  assert.match(text, /^muster_bootstrap_redials_total 5$/m)
})

test('a histogram observes in seconds', async () => {
  const metrics = await createMetrics()
  metrics.observe('muster_message_rtt_seconds', 0.002)
  const text = await metrics.text()
  assert.match(text, /^muster_message_rtt_seconds_bucket\{le="0.001"\} 0$/m)
  assert.match(text, /^muster_message_rtt_seconds_bucket\{le="0.0025"\} 1$/m)
  assert.match(text, /^muster_message_rtt_seconds_count 1$/m)
})

test('a gauge nobody measured is absent, not 0', async () => {
  const metrics = await createMetrics()
  assert.doesNotMatch(await metrics.text(), /^muster_topics /m)
  metrics.set('muster_topics', 3)
  metrics.set('muster_info', 1, { version: '1.2.3' })
  const text = await metrics.text()
  assert.match(text, /^muster_topics 3$/m)
  assert.match(text, /^muster_info\{version="1.2.3"\} 1$/m)
})

test('a collected gauge is read at each scrape until undone', async () => {
  const metrics = await createMetrics()
  let size = 1
  const undo = metrics.collect('muster_dht_table_size', async () => size)
  assert.match(await metrics.text(), /^muster_dht_table_size 1$/m)
  size = 2
  assert.match(await metrics.text(), /^muster_dht_table_size 2$/m)
  undo()
  assert.doesNotMatch(await metrics.text(), /^muster_dht_table_size \d/m)
})

test('undoing an old collection does not touch the one that took its place', async () => {
  const metrics = await createMetrics()
  const undoOld = metrics.collect('muster_members', () => 1)
  metrics.collect('muster_members', () => 2)
  undoOld()
  assert.match(await metrics.text(), /^muster_members 2$/m)
})

test('a gauge that cannot be read is left out, and the scrape goes on', async () => {
  const warned: string[] = []
  const log = { debug() {}, info() {}, error() {}, warn: (_: object, event: string) => void warned.push(event) }
  const metrics = await createMetrics({ log })
  metrics.set('muster_topics', 1)
  metrics.collect('muster_store_bytes', () => Promise.reject(new Error('disk gone')))
  const text = await metrics.text()
  assert.doesNotMatch(text, /^muster_store_bytes \d/m)
  assert.match(text, /^muster_topics 1$/m)
  assert.deepEqual(warned, ['metric not read'])
})

test('libp2p and the process report into our own registry, once, and leave the process-wide one alone', async () => {
  const { Counter, register } = await import('prom-client')
  const foreign = new Counter({ name: 'of_the_embedding_program_total', help: 'not ours' })
  foreign.inc()
  try {
    const [one, two] = [await createMetrics(), await createMetrics()]
    for (const metrics of [one, two]) {
      const logger = Object.assign(() => {}, { error() {}, trace() {}, enabled: false, newScope: () => logger })
      const node = metrics.libp2p({ logger: { forComponent: () => logger } } as never)
      node.registerCounter('libp2p_things_total').increment(7)
      const text = await metrics.text()
      assert.match(text, /^libp2p_things_total 7$/m)
      assert.equal(text.match(/^# TYPE process_cpu_user_seconds_total /gm)?.length, 1)
    }
    assert.match(await register.metrics(), /of_the_embedding_program_total 1/)
    assert.doesNotMatch(await register.metrics(), /muster_|libp2p_|process_/)
    assert.equal(Object.hasOwn(register, 'clear'), false)
  } finally {
    register.removeSingleMetric('of_the_embedding_program_total')
  }
})

test('silent metrics take everything and say nothing', async () => {
  silentMetrics.increment('muster_members_left_total', { reason: 'lost' })
  silentMetrics.observe('muster_message_rtt_seconds', 1)
  silentMetrics.collect('muster_topics', () => assert.fail('never read'))()
  assert.equal(await silentMetrics.text(), '')
})

test('a feature can ask for the one counter it needs', () => {
  interface CountsFrames {
    increment(name: 'muster_topic_frames_total', labels: { kind: 'hello' | 'update'; direction: 'in' | 'out' }): void
  }
  const counts: CountsFrames = silentMetrics
  counts.increment('muster_topic_frames_total', { kind: 'hello', direction: 'in' })
  // @ts-expect-error a label value that is not declared does not compile
  silentMetrics.increment('muster_members_left_total', { reason: 'bored' })
  // @ts-expect-error nor does a missing label
  silentMetrics.increment('muster_members_left_total')
})

test('the metrics document lists exactly what is declared', async () => {
  const rows = [...(await read('docs/metrics.md')).matchAll(/^\| `(muster_\w+)` \| (\w+) \| (.*?) \| (\w+) \|/gm)]
  const documented = rows.map(([, name, type, labels, unit]) => [name, type, labels, unit])
  const expected = declared.map(([name, { type, labels, unit }]) => [name, type, labelText(labels), unit])
  assert.deepEqual(documented, expected)
})

function labelText(labels: Readonly<Record<string, readonly string[] | string>>): string {
  const texts = Object.entries(labels).map(([label, values]) =>
    typeof values === 'string' ? `\`${label}\`` : `\`${label}\`: ${values.join(', ')}`
  )
  return texts.length === 0 ? '–' : texts.join('; ')
}

for (const path of ['ops/prometheus.yml', 'ops/alerts.yml', 'ops/grafana/muster.json', 'docs/metrics.md']) {
  test(`every metric and label value named in ${path} exists`, async () => {
    const text = await read(path)
    for (const [name = ''] of text.matchAll(/\bmuster_[a-z0-9_]+/g)) {
      const base = name.replace(/_(bucket|count|sum)$/, '')
      const known = name in METRICS || (base in METRICS && METRICS[base as MetricName].type === 'histogram')
      assert.ok(known, `${name} in ${path}`)
    }
    for (const expression of expressionsIn(path, text)) {
      for (const [metric] of expression.replaceAll(/"[^"]*"/g, '').matchAll(/\b[a-z]+(?:_[a-z0-9]+)+\b(?!\s*\()/g)) {
        assert.match(metric, /^(muster|libp2p|process|nodejs)_/, `${metric} in ${path}`)
      }
      for (const [, metric = '', selector = ''] of expression.matchAll(/(muster_[a-z0-9_]+)\{([^}]*)\}/g)) {
        const labels = METRICS[metric.replace(/_bucket$/, '') as MetricName].labels as Readonly<
          Record<string, readonly string[] | string>
        >
        for (const [, label = '', , value = ''] of selector.matchAll(/(\w+)\s*(=~?|!~?|!=)\s*"([^"]*)"/g)) {
          if (label === 'job' || label === 'instance') continue
          assert.ok(label in labels, `${metric}{${label}} in ${path}`)
          for (const one of value.split('|')) assert.ok(labels[label]?.includes(one), `${metric}{${label}="${one}"}`)
        }
      }
    }
  })
}

function expressionsIn(path: string, text: string): string[] {
  if (path.endsWith('.json')) {
    const dashboard = JSON.parse(text) as { panels: Array<{ targets?: Array<{ expr: string }> }> }
    return dashboard.panels.flatMap(panel => (panel.targets ?? []).map(target => target.expr))
  }
  return [...text.matchAll(/^\s*expr: (.*)$/gm)].map(([, expression = '']) => expression)
}

test('every panel of the dashboard shows something', async () => {
  const { panels } = JSON.parse(await read('ops/grafana/muster.json'))
  assert.ok(panels.length > 0)
  for (const panel of panels) if (panel.type !== 'row') assert.ok(panel.targets.length > 0, panel.title)
})
