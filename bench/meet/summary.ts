import { figure, markdown, median, medianRatio, table } from '../common/figures.ts'
import type { Marks, Trial } from './newcomer.ts'

/** What one network size and delay gave: the trials of each contestant, round by round; undefined where it failed. */
export interface Run {
  readonly nodes: number
  readonly rttMs: number
  readonly trials: Readonly<Record<string, (Trial | undefined)[]>>
}

/** In the order they happen in. */
const PARTS = ['start', 'import', 'listen', 'bootstrap', 'find', 'connect', 'message'] as const

type Part = (typeof PARTS)[number]

/** How long a part took: from the latest mark before it. Parts that went on at the same time count once. */
function partOf(marks: Marks, part: Part): number {
  const at = marks[part]
  if (at === undefined) return Number.NaN
  const before = PARTS.slice(0, PARTS.indexOf(part)).map(name => marks[name] ?? 0)
  return Math.max(0, at - Math.max(0, ...before))
}

/** The three spans that are compared, in milliseconds. NaN where a contestant does not tell. */
const SPANS = {
  'start → listening': ({ listen = Number.NaN }: Marks) => listen,
  'join → receipt': ({ message = Number.NaN, import: imported = Number.NaN }: Marks) => message - imported,
  'start → receipt': ({ message = Number.NaN }: Marks) => message
} as const

export interface Summary {
  readonly name: string
  readonly met: number
  readonly of: number
  /** Median, slowest, and ratio to the baseline. */
  readonly spans: ReadonlyArray<{ span: string; ms: number; maxMs: number; ratio: number }>
  readonly parts: Readonly<Record<Part, number>>
  readonly cpuMs: number
  readonly rssMiB: number
}

export function summarise(run: Run, baseline: string): Summary[] {
  const marksOf = (name: string): Marks[] => (run.trials[name] ?? []).map(trial => trial?.marks ?? {})
  return Object.entries(run.trials).map(([name, trials]) => {
    const marks = marksOf(name)
    const spans = Object.entries(SPANS).map(([span, read]) => {
      const ours = marks.map(read)
      const ratio = medianRatio(ours, marksOf(baseline).map(read))
      return { span, ms: median(ours), maxMs: Math.max(...ours.filter(Number.isFinite)), ratio }
    })
    const parts = Object.fromEntries(PARTS.map(part => [part, median(marks.map(each => partOf(each, part)))]))
    const cpuMs = median(trials.map(trial => trial?.cpuMs ?? Number.NaN))
    const rssMiB = median(trials.map(trial => (trial?.rssBytes ?? Number.NaN) / 2 ** 20))
    const met = trials.filter(trial => trial !== undefined).length
    return { name, met, of: trials.length, spans, parts: parts as Record<Part, number>, cpuMs, rssMiB }
  })
}

export function tableOf(summaries: readonly Summary[]): string {
  const head = ['', ...Object.keys(SPANS).flatMap(span => [span, '×']), ...PARTS, 'cpu', 'MiB', 'met']
  const rows = summaries.map(({ name, spans, parts, cpuMs, rssMiB, met, of }) => [
    name,
    ...spans.flatMap(({ ms, ratio }) => [figure(ms), figure(ratio, 2)]),
    ...PARTS.map(part => figure(parts[part])),
    figure(cpuMs),
    figure(rssMiB),
    `${met}/${of}`
  ])
  return table([head, ...rows])
}

/** The rows of `docs/performance.md`: milliseconds and the ratio for each span. */
export function markdownOf({ nodes, rttMs }: Run, summaries: readonly Summary[]): string {
  const rows = summaries.map(({ name, spans, met, of }) => {
    const cells = spans.map(({ ms, ratio }) => (Number.isFinite(ms) ? `${figure(ms)} (${figure(ratio, 2)} ×)` : '–'))
    return [`\`${name}\``, ...cells, `${met}/${of}`]
  })
  return markdown([[`${nodes} nodes, ${rttMs} ms`, ...Object.keys(SPANS), 'met'], ...rows])
}
