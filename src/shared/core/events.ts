import type { Undo } from './lifecycle.ts'

type Events = Record<string, unknown>

export interface Subscribable<E extends Events> {
  /** Calls `listener` for each event until the returned undo is called. */
  on<K extends keyof E>(event: K, listener: (detail: E[K]) => void): Undo
}

/** Typed events. A listener that throws does not keep the others from hearing; its error is raised as uncaught. */
export class Emitter<E extends Events> implements Subscribable<E> {
  readonly #listeners = new Map<keyof E, Set<(detail: never) => void>>()

  on<K extends keyof E>(event: K, listener: (detail: E[K]) => void): Undo {
    const own = (detail: E[K]): void => listener(detail) // the same function may be added twice
    const set = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, set)
    set.add(own)
    return () => {
      set.delete(own)
    }
  }

  /** False when a listener threw. */
  emit<K extends keyof E>(event: K, detail: E[K]): boolean {
    let isTaken = true
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        ;(listener as (detail: E[K]) => void)(detail)
      } catch (thrown) {
        isTaken = false
        queueMicrotask(() => {
          throw thrown
        })
      }
    }
    return isTaken
  }

  listenerCount(event: keyof E): number {
    return this.#listeners.get(event)?.size ?? 0
  }
}
