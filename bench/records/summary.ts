import { figure, markdown, median, medianRatio, table } from '../common/figures.ts'
import type { Tables } from './network.ts'
import type { Recall } from './recall.ts'
import { OPERATIONS, type Operation, type Result, type Trial } from './trial.ts'

/** What one network size and delay gave: the trials of each contestant, round by round; undefined where it failed. */
export interface Run {
  readonly nodes: number
  readonly rttMs: number
  /** Of each network. */
  readonly tables: Readonly<Record<string, Tables>>
  readonly trials: Readonly<Record<string, readonly (Trial | undefined)[]>>
  /** Why trials failed. */
  readonly failures: readonly string[]
}

function percentile({ latenciesMs }: Result, part: number): number {
  return latenciesMs.toSorted()[Math.ceil(latenciesMs.length * part) - 1] ?? Number.NaN
}

const operationsOf = ({ latenciesMs, failed }: Result): number => latenciesMs.length + failed

interface Column {
  readonly name: string
  readonly read: (result: Result) => number
  readonly digits?: number
  /** Shown as a ratio to each baseline, too. */
  readonly isCompared?: true
  /** Only of one kind of operation. */
  readonly only?: Operation
}

const COLUMNS: readonly Column[] = [
  { name: 'p50 ms', read: result => percentile(result, 0.5), digits: 2, isCompared: true },
  { name: 'p95 ms', read: result => percentile(result, 0.95), digits: 2 },
  { name: 'cpu ms', read: result => result.cpuMs / operationsOf(result), digits: 2, isCompared: true },
  { name: 'requests', read: result => result.requests / operationsOf(result), digits: 1 },
  { name: 'cpu ms/request', read: result => result.cpuMs / result.requests, digits: 3 },
  { name: 'others’ cpu ms', read: result => result.othersCpuMs / operationsOf(result), digits: 1 },
  { name: 'stored at', read: result => result.stored / result.latenciesMs.length, digits: 1, only: 'put' }
]

/** One figure of a contestant, and how it stands against each baseline. */
export interface Figure {
  readonly column: string
  readonly median: number
  /** The median of the per-round ratios, ours to theirs; empty where nothing is compared. */
  readonly ratios: Readonly<Record<string, number>>
  /** What each round gave. */
  readonly rounds: readonly number[]
}

export interface Row {
  readonly name: string
  readonly operation: Operation
  readonly done: number
  readonly of: number
  readonly figures: readonly Figure[]
  readonly notes: readonly string[]
}

export function summarise({ trials }: Run, baselines: readonly string[]): Row[] {
  const read = (name: string, operation: Operation, of: Column['read']): number[] =>
    (trials[name] ?? []).map(trial => (trial === undefined ? Number.NaN : of(trial[operation])))
  return OPERATIONS.flatMap(operation =>
    Object.entries(trials).map(([name, rounds]): Row => {
      const figures = COLUMNS.filter(({ only = operation }) => only === operation).map(column => {
        const values = read(name, operation, column.read)
        const compared = column.isCompared === true ? baselines : []
        const ratios = compared.map(baseline => [baseline, medianRatio(values, read(baseline, operation, column.read))])
        return { column: column.name, median: median(values), ratios: Object.fromEntries(ratios), rounds: values }
      })
      const results = rounds.flatMap(trial => (trial === undefined ? [] : [trial[operation]]))
      const notes = new Set(results.flatMap(({ failure }) => (failure === undefined ? [] : [failure])))
      const done = results.reduce((sum, { latenciesMs }) => sum + latenciesMs.length, 0)
      const of = results.reduce((sum, result) => sum + operationsOf(result), 0)
      return { name, operation, done, of, figures, notes: [...notes] }
    })
  )
}

const COLUMN_DIGITS = new Map(COLUMNS.map(({ name, digits }) => [name, digits]))

export function textOf({ nodes, rttMs, tables, failures }: Run, rows: readonly Row[], isMarkdown: boolean): string {
  const parts = OPERATIONS.map(operation => {
    const own = rows.filter(row => row.operation === operation)
    const title = `${operation}, ${nodes} nodes, ${rttMs} ms`
    const head = [
      title,
      ...(own[0]?.figures ?? []).flatMap(({ column, ratios }) => [
        column,
        ...Object.keys(ratios).map(baseline => `× ${baseline}`)
      ])
    ]
    const lines = own.map(({ name, done, of, figures }) => [
      done === of ? name : `${name} (${done}/${of})`,
      ...figures.flatMap(({ column, median: value, ratios }) => [
        figure(value, COLUMN_DIGITS.get(column)),
        ...Object.values(ratios).map(ratio => figure(ratio, 3))
      ])
    ])
    return (isMarkdown ? markdown : table)([head, ...lines])
  })
  const notes = [
    ...rows.flatMap(({ name, operation, notes: all }) => all.map(note => `${name}, ${operation}: ${note}`)),
    ...failures,
    ...Object.entries(tables)
      .filter(([, { isSettled }]) => !isSettled)
      .map(
        ([name, { min, mean }]) =>
          `${name}: its routing tables did not settle (${min} at least, ${figure(mean)} on average)`
      )
  ]
  return [...parts, ...(notes.length === 0 ? [] : [notes.join('\n')])].join('\n\n')
}

export function recallText({ nodes, keys, mean, min, holders }: Recall): string {
  return (
    `Recall with ${nodes} nodes and ${keys} keys: ${figure(mean, 4)} of the 20 closest hold a key ` +
    `(worst key ${figure(min, 2)}), ${figure(holders, 1)} nodes in all.`
  )
}

/** What Muster is meant to reach, in ratios of the same run. */
const GOALS = [
  { operation: 'get', column: 'p50 ms', timesFaster: 13, than: 'kad-dht' },
  { operation: 'put', column: 'p50 ms', timesFaster: 5, than: 'kad-dht' },
  { operation: 'get', column: 'cpu ms/request', atMost: 0.25 },
  { operation: 'put', column: 'cpu ms/request', atMost: 0.25 }
] as const
/** The network they are about. */
const GOAL_NODES = 64
const GOAL_RECALL = 0.99

/** Each goal, and whether Muster's ways reach it. */
export function verdictOf(
  runs: ReadonlyArray<{ readonly run: Run; readonly rows: readonly Row[] }>,
  recall: Recall | undefined,
  isMarkdown: boolean
): string {
  const { rows = [] } = runs.find(({ run: { nodes, rttMs } }) => nodes === GOAL_NODES && rttMs === 0) ?? {}
  const ours = [...new Set(rows.map(({ name }) => name).filter(name => name.startsWith('muster')))]
  const answer = (value: number, isReached: boolean, digits: number): string =>
    Number.isNaN(value) ? '–' : `${figure(value, digits)} ${isReached ? 'yes' : 'no'}`
  const lines = (ours.length === 0 ? [] : GOALS).map(goal => {
    const figuresOf = (name: string) =>
      rows
        .find(row => row.name === name && row.operation === goal.operation)
        ?.figures.find(({ column }) => column === goal.column)
    const title = `${goal.operation}, ${GOAL_NODES} nodes, 0 ms: ${goal.column}`
    if ('atMost' in goal) {
      return [
        `${title} ≤ ${goal.atMost}`,
        ...ours.map(name => {
          const value = figuresOf(name)?.median ?? Number.NaN
          return answer(value, value <= goal.atMost, 3)
        })
      ]
    }
    return [
      `${title} ≥ ${goal.timesFaster} × faster than ${goal.than}`,
      ...ours.map(name => {
        const value = medianRatio(figuresOf(goal.than)?.rounds ?? [], figuresOf(name)?.rounds ?? [])
        return answer(value, value >= goal.timesFaster, 1)
      })
    ]
  })
  if (recall !== undefined) {
    const { mean } = recall
    lines.push([`recall, ${recall.nodes} nodes: ≥ ${GOAL_RECALL}`, answer(mean, mean >= GOAL_RECALL, 4)])
  }
  if (lines.length === 0) return `Goals are about ${GOAL_NODES} nodes without delay.`
  const columns = ours.length === 0 ? ['muster'] : ours
  const filled = lines.map(line => [...line, ...Array.from({ length: columns.length + 1 - line.length }, () => '')])
  return (isMarkdown ? markdown : table)([['Goal', ...columns], ...filled])
}
