import type { Clock } from '../core/clock.ts'
import { asError, isMusterError, MusterError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { deadline, raceSignal } from '../core/signals.ts'
import { HEALTH_KEEP_MS, STATUS_KEEP_MS } from './limits.ts'
import type { Status } from './status.ts'

/** What the HTTP server asks of the node it speaks for. */
export interface StatusSource {
  status(): Promise<Status>
  /** Whether the DHT answers. Never asked twice at a time, and at most about once a second. */
  health(signal: AbortSignal): Promise<{ ok: boolean; reason?: string }>
  /** Prometheus text. */
  metrics(): Promise<string>
}

export interface Answer {
  readonly code: number
  readonly type: string
  readonly body: string
}

/** One page: never rejects, never takes longer than the deadline. */
export type Page = () => Promise<Answer>

interface PageConditions {
  /** Aborted when the server closes. */
  readonly signal: AbortSignal
  readonly deadlineMs: number
  readonly clock: Clock
  readonly log: Log
}

const JSON_TYPE = 'application/json; charset=utf-8'
const TEXT_TYPE = 'text/plain; charset=utf-8'
const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const INDEX = `Muster

/health   200 when the DHT answers, else 503 with the reason
/status   what this node is and holds, as JSON
/metrics  numbers for Prometheus
`

export const plain = (code: number, body: string): Answer => ({ code, type: TEXT_TYPE, body })

/** The pages by path. Whoever asks while a page is being made, or shortly after, gets the same answer. */
export function statusPages(source: StatusSource, conditions: PageConditions): ReadonlyMap<string, Page> {
  const { signal, deadlineMs, clock, log } = conditions

  async function within<T>(what: string, ask: (limit: AbortSignal) => Promise<T>): Promise<T> {
    using limit = deadline(deadlineMs, what, signal)
    // Asked in a later turn, so that a source that throws at once rejects instead.
    return await raceSignal(
      Promise.resolve().then(() => ask(limit.signal)),
      limit.signal
    )
  }

  async function health(): Promise<Answer> {
    const verdict = await within('the health check', limit => source.health(limit)).catch(thrown => {
      log.warn({ error: asError(thrown) }, 'health check failed')
      return { ok: false, reason: reasonOf(thrown) }
    })
    const { ok, reason = 'no reason given' } = verdict
    return { code: ok ? 200 : 503, type: JSON_TYPE, body: JSON.stringify(ok ? { ok } : { ok, reason }) }
  }

  async function page(name: string, type: string, make: () => Promise<string>): Promise<Answer> {
    try {
      return { code: 200, type, body: await within(name, make) }
    } catch (thrown) {
      log.warn({ page: name, error: asError(thrown) }, 'status page failed')
      return plain(isMusterError(thrown) ? 503 : 500, `${reasonOf(thrown)}\n`)
    }
  }

  const status = (): Promise<Answer> =>
    page('status', JSON_TYPE, async () => `${JSON.stringify(await source.status(), null, 2)}\n`)
  const metrics = (): Promise<Answer> => page('metrics', PROMETHEUS_TYPE, () => source.metrics())

  return new Map<string, Page>([
    ['/', async () => plain(200, INDEX)],
    ['/health', shared(clock, HEALTH_KEEP_MS, health)],
    ['/status', shared(clock, STATUS_KEEP_MS, status)],
    ['/metrics', shared(clock, STATUS_KEEP_MS, metrics)]
  ])
}

/** Makes one at a time, and hands the same one out until it is `keepMs` old. */
function shared(clock: Clock, keepMs: number, make: Page): Page {
  let current: Promise<Answer> | undefined
  let madeAt: number | undefined
  return () => {
    const age = madeAt === undefined ? 0 : clock.now() - madeAt
    if (current !== undefined && age >= 0 && age < keepMs) return current
    madeAt = undefined
    current = make().finally(() => {
      madeAt = clock.now()
    })
    return current
  }
}

/** Our own words may be shown to anybody; those of other code may hold paths and addresses, and go to the log alone. */
function reasonOf(thrown: unknown): string {
  return thrown instanceof MusterError ? `${thrown.code}: ${thrown.message}` : 'failed; the log says why'
}
