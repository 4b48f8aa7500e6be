import { figure, markdown, median, medianRatio, table } from '../common/figures.ts'
import type { Job, Kind } from './job.ts'
import type { Result } from './trial.ts'

/** What a job gave: each contestant's results, round by round. */
export interface Run {
  readonly job: Job
  readonly results: Readonly<Record<string, readonly Result[]>>
}

type Done = Extract<Result, { asking: object }>

/** From the first byte sent until everything has come and was answered, in seconds. */
function secondsOf({ asking, answering }: Done): number {
  const endNs = asking.endNs > answering.endNs ? asking.endNs : answering.endNs
  return Number(endNs - asking.startNs) / 1e9
}

const cpuUsOf = ({ asking, answering }: Done): number => asking.cpuUs + answering.cpuUs

function percentile({ asking: { latenciesUs } }: Done, part: number): number {
  return latenciesUs?.toSorted()[Math.ceil(latenciesUs.length * part) - 1] ?? Number.NaN
}

type Read = (done: Done, job: Job) => number

const PER_SECOND: Record<string, Read> = {
  'messages/s': done => done.count / secondsOf(done),
  'cpu µs': done => cpuUsOf(done) / done.count
}

/** What is read from each kind of job. Processor time is that of both ends. */
const COLUMNS: Readonly<Record<Kind, Readonly<Record<string, Read>>>> = {
  'round trip': {
    'p50 µs': done => percentile(done, 0.5),
    'p99 µs': done => percentile(done, 0.99),
    'cpu µs': done => cpuUsOf(done) / done.count
  },
  'in flight': PER_SECOND,
  'one way': PER_SECOND,
  bulk: {
    'MB/s': (done, job) => job.bytes / 1e6 / secondsOf(done),
    'cpu ns/B': (done, job) => (cpuUsOf(done) * 1e3) / job.bytes
  }
}

/** One figure of a contestant, and how it stands against each baseline. */
export interface Figure {
  readonly column: string
  readonly median: number
  readonly ratios: Readonly<Record<string, number>>
  /** What each round gave. */
  readonly rounds: readonly number[]
}

export interface Summary {
  readonly kind: Kind
  readonly bytes: number
  readonly rows: ReadonlyArray<{
    readonly name: string
    readonly done: number
    readonly of: number
    readonly figures: readonly Figure[]
    /** Why rounds have no figures. */
    readonly failures: readonly string[]
  }>
}

export function summarise({ job, results }: Run, baselines: readonly string[]): Summary {
  const read = (name: string, of: Read): number[] =>
    (results[name] ?? []).map(result => ('asking' in result ? of(result, job) : Number.NaN))
  const rows = Object.entries(results).map(([name, rounds]) => {
    const figures = Object.entries(COLUMNS[job.kind]).map(([column, of]) => {
      const ratios = baselines.map(baseline => [baseline, medianRatio(read(name, of), read(baseline, of))])
      const values = read(name, of)
      return { column, median: median(values), ratios: Object.fromEntries(ratios), rounds: values }
    })
    const failures = [...new Set(rounds.flatMap(result => ('failed' in result ? [result.failed] : [])))]
    return { name, done: rounds.filter(result => 'asking' in result).length, of: rounds.length, figures, failures }
  })
  return { kind: job.kind, bytes: job.bytes, rows }
}

const TITLES: Readonly<Record<Kind, string>> = {
  'round trip': 'Round trip',
  'in flight': '64 requests in flight',
  'one way': 'One way',
  bulk: 'Bulk'
}

function sizeOf(bytes: number): string {
  if (bytes >= 2 ** 20) return `${figure(bytes / 2 ** 20, 0)} MiB`
  return bytes >= 1024 && bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} B`
}

const titleOf = ({ kind, bytes }: Pick<Summary, 'kind' | 'bytes'>): string => `${TITLES[kind]}, ${sizeOf(bytes)}`

/** Rows with figures, then the reasons of those without. */
export function textOf(summary: Summary, isMarkdown: boolean): string {
  const columns = Object.keys(COLUMNS[summary.kind])
  const shown = summary.rows.filter(({ done }) => done > 0)
  const baselines = Object.keys(shown[0]?.figures[0]?.ratios ?? {})
  const head = [titleOf(summary), ...columns.flatMap(column => [column, ...baselines.map(name => `× ${name}`)])]
  const rows = shown.map(({ name, figures, done, of }) => [
    done === of ? name : `${name} (${done}/${of})`,
    ...figures.flatMap(({ median: value, ratios }) => [figure(value), ...Object.values(ratios).map(r => figure(r, 2))])
  ])
  const failures = summary.rows.flatMap(({ name, failures: all }) => all.map(why => `${name}: failed: ${why}`))
  return [(isMarkdown ? markdown : table)([head, ...rows]), ...(failures.length > 0 ? ['', ...failures] : [])].join(
    '\n'
  )
}

/** What Muster is meant to reach, in ratios of the same run. */
const GOALS = [
  { kind: 'in flight', column: 'messages/s', baseline: 'hyperswarm', atLeast: 2.5 },
  { kind: 'one way', column: 'messages/s', baseline: 'hyperswarm', atLeast: 2 },
  { kind: 'bulk', column: 'MB/s', baseline: 'hyperswarm', atLeast: 3 },
  { kind: 'bulk', column: 'MB/s', baseline: 'tcp', atLeast: 0.2 },
  { kind: 'round trip', column: 'cpu µs', baseline: 'tcp', atMost: 1.6 }
] as const

/** Each goal, and whether Muster's ways reach it. */
export function verdictOf(summaries: readonly Summary[], isMarkdown: boolean): string {
  const names = new Set(summaries.flatMap(({ rows }) => rows.map(row => row.name)))
  const ours = [...names].filter(name => name.startsWith('muster'))
  const lines = GOALS.flatMap(goal => {
    const limit = 'atLeast' in goal ? `≥ ${goal.atLeast}` : `≤ ${goal.atMost}`
    return summaries
      .filter(({ kind }) => kind === goal.kind)
      .map(summary => [
        `${titleOf(summary)}: ${goal.column} ${limit} × ${goal.baseline}`,
        ...ours.map(name => {
          const row = summary.rows.find(each => each.name === name)
          const ratio = row?.figures.find(({ column }) => column === goal.column)?.ratios[goal.baseline] ?? Number.NaN
          if (Number.isNaN(ratio)) return '–'
          const isReached = 'atLeast' in goal ? ratio >= goal.atLeast : ratio <= goal.atMost
          return `${figure(ratio, 2)} ${isReached ? 'yes' : 'no'}`
        })
      ])
  })
  return (isMarkdown ? markdown : table)([['Goal', ...ours], ...lines])
}
