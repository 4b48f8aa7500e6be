import type { Undo } from '../core/lifecycle.ts'

/** A label whose values are not listed here, and which is constant for a process. Never a peer id, never a topic. */
const CONSTANT = 'constant'

const IN_OUT = ['in', 'out'] as const

interface MetricDeclaration {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** `seconds` and `bytes` are part of the name; `count` is a number of things; `info` is always 1. */
  readonly unit: 'count' | 'seconds' | 'bytes' | 'info'
  /** Label name → all values it can have. */
  readonly labels: Readonly<Record<string, readonly string[] | typeof CONSTANT>>
  /** Upper bounds of a histogram's buckets, in its unit. */
  readonly buckets?: readonly number[]
}

/**
 * Every metric of our own, declared once; `docs/metrics.md` lists the same and a test keeps the two equal.
 * All label values are listed, so the number of series is fixed whatever strangers do.
 */
export const METRICS = {
  muster_topics: {
    type: 'gauge',
    unit: 'count',
    help: 'Topics this node knows members of.',
    labels: {}
  },
  muster_members: {
    type: 'gauge',
    unit: 'count',
    help: 'Live members in the roster, all topics together.',
    labels: {}
  },
  muster_topic_frames_total: {
    type: 'counter',
    unit: 'count',
    help: 'Frames of the topic protocol.',
    labels: { kind: ['hello', 'members', 'update', 'lost', 'refusal', 'unwatch'], direction: IN_OUT }
  },
  muster_topic_rejected_total: {
    type: 'counter',
    unit: 'count',
    help: 'Member records and frames of the topic protocol that were not accepted.',
    labels: { reason: ['signature', 'expired', 'future', 'malformed', 'limit', 'rate'] }
  },
  muster_members_left_total: {
    type: 'counter',
    unit: 'count',
    help: 'Members that went away, with a goodbye or without.',
    labels: { reason: ['goodbye', 'lost'] }
  },
  muster_messages_total: {
    type: 'counter',
    unit: 'count',
    help: 'Direct messages by how they ended.',
    labels: { direction: IN_OUT, outcome: ['delivered', 'refused', 'timed_out', 'failed'] }
  },
  muster_message_rtt_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time from sending a direct message to its receipt.',
    labels: {},
    // From a loopback round trip to the default deadline of 10 s.
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
  },
  muster_streams_total: {
    type: 'counter',
    unit: 'count',
    help: 'Raw streams that are over, by who opened them and how they ended.',
    labels: { direction: IN_OUT, outcome: ['ended', 'broken', 'refused', 'failed'] }
  },
  muster_broadcasts_total: {
    type: 'counter',
    unit: 'count',
    help: 'Broadcasts by what became of them; those of others are passed on when they are taken.',
    labels: { direction: IN_OUT, outcome: ['sent', 'failed', 'taken', 'invalid', 'replay', 'clock', 'rate'] }
  },
  muster_broadcast_authors: {
    type: 'gauge',
    unit: 'count',
    help: 'Authors of broadcasts, by topic, whose sequence numbers are remembered.',
    labels: {}
  },
  muster_history_messages: {
    type: 'gauge',
    unit: 'count',
    help: 'Broadcasts kept, all topics together.',
    labels: {}
  },
  muster_history_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Size of the broadcasts kept.',
    labels: {}
  },
  muster_history_dropped_total: {
    type: 'counter',
    unit: 'count',
    help: 'Broadcasts kept no longer, or not kept because the disk was too slow.',
    labels: { reason: ['expired', 'full', 'busy'] }
  },
  muster_history_asks_total: {
    type: 'counter',
    unit: 'count',
    help: 'Questions for history by how they ended.',
    labels: { direction: IN_OUT, outcome: ['answered', 'refused', 'failed'] }
  },
  muster_connections_refused_total: {
    type: 'counter',
    unit: 'count',
    help: 'Connections refused, evicted to make room, or never dialled.',
    labels: { reason: ['rate', 'evicted'] }
  },
  muster_dht_requests_refused_total: {
    type: 'counter',
    unit: 'count',
    help: 'DHT requests, and answers to ours, that broke a limit.',
    labels: { reason: ['frame', 'rate', 'addresses'] }
  },
  muster_dht_table_size: {
    type: 'gauge',
    unit: 'count',
    help: 'Peers in the DHT routing table.',
    labels: {}
  },
  muster_dht_providers: {
    type: 'gauge',
    unit: 'count',
    help: 'Provider records held for the DHT.',
    labels: {}
  },
  muster_records: {
    type: 'gauge',
    unit: 'count',
    help: 'Key-value records held for the network.',
    labels: {}
  },
  muster_record_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Size of the key-value records held for the network.',
    labels: {}
  },
  muster_own_records: {
    type: 'gauge',
    unit: 'count',
    help: 'Key-value records this node wrote itself, deleted ones included while their deletion has to be kept.',
    labels: {}
  },
  muster_record_requests_total: {
    type: 'counter',
    unit: 'count',
    help: 'Requests of other nodes for records by what became of them.',
    labels: { kind: ['find', 'store', 'offers'], outcome: ['ok', 'older', 'refused', 'rate'] }
  },
  muster_record_operations_total: {
    type: 'counter',
    unit: 'count',
    help: 'Reads and writes of records by this node itself; none: there is no record.',
    labels: { kind: ['get', 'put'], outcome: ['ok', 'none', 'failed'] }
  },
  muster_bootstrap_connected: {
    type: 'gauge',
    unit: 'count',
    help: 'Configured bootstraps that are connected now.',
    labels: {}
  },
  muster_bootstrap_redials_total: {
    type: 'counter',
    unit: 'count',
    help: 'Attempts to reach a configured bootstrap again.',
    labels: {}
  },
  muster_store_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Size of the data folder on disk.',
    labels: {}
  },
  muster_uptime_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Time since the node was created.',
    labels: {}
  },
  muster_info: {
    type: 'gauge',
    unit: 'info',
    help: 'Always 1; the labels say what runs.',
    labels: { version: CONSTANT }
  }
} as const satisfies Record<string, MetricDeclaration>

export type MetricName = keyof typeof METRICS

type NameOfType<T extends MetricDeclaration['type']> = {
  [N in MetricName]: (typeof METRICS)[N]['type'] extends T ? N : never
}[MetricName]

export type CounterName = NameOfType<'counter'>
export type GaugeName = NameOfType<'gauge'>
export type HistogramName = NameOfType<'histogram'>

type Declared<N extends MetricName> = (typeof METRICS)[N]['labels']

/** Exactly the labels of a metric, each with one of its declared values. */
export type LabelsOf<N extends MetricName> = {
  readonly [L in keyof Declared<N>]: Declared<N>[L] extends readonly (infer V)[] ? V : string
}

/** Metrics without labels: these need no label argument. */
export type PlainName = { [N in MetricName]: keyof Declared<N> extends never ? N : never }[MetricName]

type LabelArgument<N extends MetricName> = N extends PlainName
  ? [labels?: Readonly<Record<string, never>>]
  : [labels: LabelsOf<N>]

/**
 * Where numbers about a running node go. Names and labels are checked by the compiler against {@link METRICS}.
 * Reporting never waits, and throws only for a number that is none.
 */
export interface Metrics {
  /** Adds `by` (1 when left out, never negative) to a counter. */
  increment<N extends CounterName>(name: N, ...rest: [...labels: LabelArgument<N>, by?: number]): void
  /** Sets a gauge. */
  set<N extends GaugeName>(name: N, value: number, ...labels: LabelArgument<N>): void
  /** Adds one observation, in the unit of the name, to a histogram. */
  observe<N extends HistogramName>(name: N, value: number, ...labels: LabelArgument<N>): void
  /**
   * Reads a gauge at each scrape, until undone or until another `read` takes its place.
   * A `read` that fails leaves the gauge out of that scrape.
   */
  collect(name: GaugeName & PlainName, read: () => number | Promise<number>): Undo
  /** Everything in the Prometheus text format. */
  text(): Promise<string>
}

/** Metrics nobody reads: for a node without HTTP, for browsers and for tests. */
export const silentMetrics: Metrics = {
  increment() {},
  set() {},
  observe() {},
  collect: () => () => {},
  text: async () => ''
}
