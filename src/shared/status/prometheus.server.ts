import type { prometheusMetrics } from '@libp2p/prometheus-metrics'
import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { asError } from '../core/errors.ts'
import { type Log, silentLog } from '../core/log.ts'
import { METRICS, type MetricName, type Metrics } from './metrics.ts'

/** What libp2p takes as its `metrics` option. */
export type Libp2pMetricsFactory = ReturnType<typeof prometheusMetrics>

export interface PrometheusMetrics extends Metrics {
  /** Our own registry, never the process-wide one of `prom-client`. Holds our metrics, libp2p's and the process's. */
  readonly registry: Registry
  /** For the `metrics` option of one libp2p node, which then reports into `registry`. */
  readonly libp2p: Libp2pMetricsFactory
}

type AnyMetric = Counter | Gauge | Histogram
type AnyLabels = Record<string, string>

/**
 * Metrics over `prom-client`, with the default process metrics included once.
 * One per node. Loads `prom-client` only when called: it costs a tenth of a second that a node without HTTP need not pay.
 */
export async function createMetrics({ log = silentLog }: { log?: Log } = {}): Promise<PrometheusMetrics> {
  const [prom, libp2p] = await Promise.all([import('prom-client'), import('@libp2p/prometheus-metrics')])
  const registry = new prom.Registry()
  const metrics = new Map<MetricName, AnyMetric>()
  const readers = new Map<MetricName, () => number | Promise<number>>()

  for (const [key, declared] of Object.entries(METRICS)) {
    const name = key as MetricName
    const common = { name, help: declared.help, labelNames: Object.keys(declared.labels), registers: [registry] }
    if (declared.type === 'counter') {
      const counter = new prom.Counter(common)
      // Known from the start, so that the first event is an increase from 0 and not a new series.
      for (const labels of everyCombination(declared.labels)) counter.inc(labels, 0)
      metrics.set(name, counter)
    } else if (declared.type === 'histogram') {
      metrics.set(name, new prom.Histogram({ ...common, buckets: [...declared.buckets] }))
    } else {
      const gauge = new prom.Gauge({ ...common, collect: () => readGauge(name) })
      if (common.labelNames.length === 0) gauge.remove() // what was never measured is absent, not 0
      metrics.set(name, gauge)
    }
  }
  prom.collectDefaultMetrics({ register: registry })

  async function readGauge(name: MetricName): Promise<void> {
    const read = readers.get(name)
    if (read === undefined) return
    const gauge = metrics.get(name) as Gauge
    try {
      const value = await read()
      if (readers.get(name) === read) gauge.set(value)
    } catch (thrown) {
      if (readers.get(name) === read) gauge.remove()
      log.warn({ metric: name, error: asError(thrown) }, 'metric not read')
    }
  }

  return {
    registry,
    libp2p: quietly(libp2p.prometheusMetrics({ registry, collectDefaultMetrics: false }), prom.register),
    increment(name, ...rest) {
      const [labels = {}, by = 1] = rest as readonly unknown[] as [AnyLabels?, number?]
      ;(metrics.get(name) as Counter).inc(labels, by)
    },
    set(name, value, ...[labels]) {
      ;(metrics.get(name) as Gauge).set((labels ?? {}) as AnyLabels, value)
    },
    observe(name, value, ...[labels]) {
      ;(metrics.get(name) as Histogram).observe((labels ?? {}) as AnyLabels, value)
    },
    collect(name, read) {
      const own = (): number | Promise<number> => read() // the same function may be given twice
      readers.set(name, own)
      return () => {
        if (readers.get(name) !== own) return
        readers.delete(name)
        ;(metrics.get(name) as Gauge).remove()
      }
    },
    text: () => registry.metrics()
  }
}

/**
 * `@libp2p/prometheus-metrics` forgets the metrics of an earlier node of the process when it is constructed, which
 * we want, and also empties the process-wide registry, which belongs to whoever embeds us. Construction is
 * synchronous, so for that moment the registry is made to ignore it.
 */
function quietly(factory: Libp2pMetricsFactory, processWide: Registry): Libp2pMetricsFactory {
  return components => {
    processWide.clear = () => {}
    try {
      return factory(components)
    } finally {
      delete (processWide as Partial<Registry>).clear
    }
  }
}

function everyCombination(labels: Readonly<Record<string, readonly string[] | string>>): AnyLabels[] {
  let combinations: AnyLabels[] = [{}]
  for (const [label, values] of Object.entries(labels)) {
    if (typeof values === 'string') return []
    combinations = combinations.flatMap(known => values.map(value => ({ ...known, [label]: value })))
  }
  return combinations
}
