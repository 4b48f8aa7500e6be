import { type Remote, spawnRemote, stopRemote } from '../common/remote.ts'
import type { Contestant } from './contestants.ts'
import type { Job, Kind, Spent, Stack } from './job.ts'

/** What one job took at both ends, or why it was not done. */
export type Result =
  | { readonly asking: Spent; readonly answering: Spent; readonly count: number }
  | { readonly failed: string }

const MEETING_MS = 30_000
const JOB_MS = 120_000
/** Part of a job that is done before it counts, and the least of it. */
const WARM_UP = 0.2
const WARM_UP_MESSAGES = 1000

/** A pair of processes that were connected, and are stopped whatever happens. */
export async function runTrial(contestant: Contestant, jobs: readonly Job[]): Promise<Result[]> {
  const { module, entry = '' } = contestant
  const ends: Remote<Stack>[] = []
  let late: string | undefined
  /** Ends both processes by force when something takes too long; what waits for them is rejected then. */
  const within = async <T>(ms: number, doing: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => {
      late = `not done within ${ms / 1000} s`
      for (const { child } of ends) child.kill('SIGKILL')
    }, ms)
    try {
      return await doing
    } finally {
      clearTimeout(timer)
    }
  }
  const results: Result[] = []
  try {
    const open = async () => {
      const end = await spawnRemote<Stack>(module)
      ends.push(end)
      return end.stack
    }
    const answering = await open()
    const asking = await open()
    await within(
      MEETING_MS,
      answering.listen(entry).then(address => asking.dial(address, entry))
    )
    const once = async (job: Job): Promise<Result> => {
      await answering.expect(job)
      const [asked, answered] = await Promise.all([asking.run(job), answering.arrived()])
      return { asking: asked, answering: answered, count: job.count }
    }
    for (const usual of jobs) {
      const job = { ...usual, count: Math.round(usual.count * (contestant.factor?.[usual.kind] ?? 1)) }
      await within(JOB_MS, once(warmUp(job)))
      results.push(await within(JOB_MS, once(job)))
    }
  } catch (thrown) {
    const [failed = ''] = (thrown as Error).message.split('\n')
    while (results.length < jobs.length) results.push({ failed: late ?? failed })
  } finally {
    await Promise.all(ends.map(stopRemote))
  }
  return results
}

function warmUp({ kind, bytes, count }: Job): Job {
  if (kind === 'bulk') return { kind, bytes: Math.ceil(bytes * WARM_UP), count }
  return { kind, bytes, count: Math.min(count, Math.max(WARM_UP_MESSAGES, Math.ceil(count * WARM_UP))) }
}

/** The work of one trial. `work` is a part or a multiple of what is usual. */
export function jobsOf(sizes: readonly number[], work: number): Job[] {
  const of = (count: number) => Math.max(1, Math.round(count * work))
  const messages: [Kind, number][] = [
    ['round trip', 5000],
    ['in flight', 40_000],
    ['one way', 100_000]
  ]
  return [
    ...messages.flatMap(([kind, count]) => sizes.map(bytes => ({ kind, bytes, count: of(count) }))),
    { kind: 'bulk', bytes: of(2 ** 28), count: 1 }
  ]
}
