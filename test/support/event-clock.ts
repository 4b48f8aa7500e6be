import type { Clock } from '../../src/shared/core/clock.ts'
import type { Undo } from '../../src/shared/core/lifecycle.ts'

/** Time that jumps to what is due next: a simulated minute costs as much as what happens in it. */
export class EventClock implements Clock {
  #now: number
  #turn = 0
  readonly #due: Array<{ at: number; turn: number; every: number | undefined; run: () => void }> = []

  constructor(now = 1_700_000_000_000) {
    this.#now = now
  }

  get nextAt(): number | undefined {
    return this.#due.at(-1)?.at
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Undo {
    return this.#add({ at: this.#now + ms, turn: this.#turn++, every: undefined, run })
  }

  every(ms: number, run: () => void): Undo {
    return this.#add({ at: this.#now + ms, turn: this.#turn++, every: ms, run })
  }

  /** Moves time to `end` and runs, in order, what falls due. */
  advanceTo(end: number): void {
    for (let next = this.#due.at(-1); next !== undefined && next.at <= end; next = this.#due.at(-1)) {
      this.#due.pop()
      this.#now = Math.max(this.#now, next.at)
      if (next.every !== undefined) {
        next.at += next.every
        this.#insert(next)
      }
      next.run()
    }
    this.#now = Math.max(this.#now, end)
  }

  #add(timer: { at: number; turn: number; every: number | undefined; run: () => void }): Undo {
    this.#insert(timer)
    return () => {
      const at = this.#due.indexOf(timer)
      if (at >= 0) this.#due.splice(at, 1)
    }
  }

  /** Latest first, so that the next one is popped. */
  #insert(timer: { at: number; turn: number; every: number | undefined; run: () => void }): void {
    let low = 0
    let high = this.#due.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#due[middle]
      if (other !== undefined && (other.at > timer.at || (other.at === timer.at && other.turn > timer.turn)))
        low = middle + 1
      else high = middle
    }
    this.#due.splice(low, 0, timer)
  }
}

/** Lets `ms` of simulated time pass on a network in memory: at most one step each 20 ms, with everybody's turn after it. */
export async function passTime(clock: EventClock, network: { settle(): Promise<void> }, ms: number): Promise<void> {
  const end = clock.now() + ms
  await network.settle()
  for (let next = clock.nextAt; next !== undefined && next <= end; next = clock.nextAt) {
    clock.advanceTo(Math.min(end, Math.max(next, clock.now() + 20)))
    await network.settle()
  }
  clock.advanceTo(end)
  await network.settle()
}
