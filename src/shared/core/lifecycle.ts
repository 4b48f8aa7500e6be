import { asError, MusterError } from './errors.ts'

export type Undo = () => void

/** Alive from the moment its factory resolves until `close()` resolves. */
export interface Closable extends AsyncDisposable {
  /** Aborted as soon as closing begins: hand it to every wait and every dial. The reason is `closed`, or what failed. */
  readonly signal: AbortSignal
  /** Releases everything, newest first. Calling again returns the same promise. */
  close(): Promise<void>
}

/** Collects what has to be released, and releases it once, newest first. */
export class Scope implements Closable {
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #releases: Array<() => unknown> = []
  #closing: Promise<void> | undefined

  constructor() {
    this.signal = this.#controller.signal
  }

  /** Runs `release` when the scope closes; at once if it is closing already. */
  defer(release: () => unknown): void {
    if (this.#closing === undefined) this.#releases.push(release)
    else void Promise.resolve().then(release).catch(reportUncaught)
  }

  /** Closes `part` together with the scope. */
  own<T extends { close(): unknown }>(part: T): T {
    this.defer(() => part.close())
    return part
  }

  /** `reason` becomes that of the signal: what made this close by itself. */
  close(reason: MusterError = new MusterError('closed')): Promise<void> {
    this.#closing ??= this.#release(reason)
    return this.#closing
  }

  async #release(reason: MusterError): Promise<void> {
    this.#controller.abort(reason)
    const failures: Error[] = []
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      try {
        await release()
      } catch (thrown) {
        failures.push(asError(thrown))
      }
    }
    if (failures.length === 1) throw failures[0]
    if (failures.length > 1) throw new AggregateError(failures, 'several parts failed to close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Builds something inside a scope; when the build fails half-way, what it had opened is released. */
export async function build<T>(make: (scope: Scope) => Promise<T>): Promise<T> {
  const scope = new Scope()
  try {
    return await make(scope)
  } catch (thrown) {
    await scope.close().catch(() => undefined) // the first failure is the one to report
    throw thrown
  }
}

/** For work nobody awaits: a failure there is a bug and must not be silent. */
export function reportUncaught(thrown: unknown): void {
  queueMicrotask(() => {
    throw asError(thrown)
  })
}
