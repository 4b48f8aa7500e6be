import type { Clock } from '../core/clock.ts'
import { MusterError } from '../core/errors.ts'

/** As `deadline` of `core/signals`, on a clock: what a simulation runs through must not wait for real time. */
export function patience(
  clock: Clock,
  ms: number,
  what: string,
  ...signals: ReadonlyArray<AbortSignal | undefined>
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const late = (): void => controller.abort(new MusterError('timed-out', `${what}: no answer within ${ms} ms`))
  const undo = [clock.after(ms, late)]
  for (const signal of signals) {
    if (signal === undefined) continue
    const forward = (): void => controller.abort(signal.reason)
    if (signal.aborted) forward()
    signal.addEventListener('abort', forward, { once: true })
    undo.push(() => signal.removeEventListener('abort', forward))
  }
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const step of undo) step()
    }
  }
}
