import type { PeerId } from '../../shared/core/address.ts'
import { isMusterError } from '../../shared/core/errors.ts'
import type { Topic } from '../../shared/core/topic.ts'
import type { GroupNeeds } from './group-needs.ts'

/** Shortest and longest pause before a bootstrap that did not answer, or whose topic stream ended, is greeted again. */
const REGREET_MIN_MS = 1_000
const REGREET_MAX_MS = 30_000

export interface GreeterNeeds extends Pick<GroupNeeds, 'roster' | 'bootstraps' | 'clock' | 'log'> {
  readonly topic: Topic
  /** Aborted when the group is left. */
  readonly signal: AbortSignal
  /** A bootstrap answers, but does not speak the topic protocol of this network. */
  readonly onMismatch: (peerId: PeerId) => void
}

/** Says HELLO for one topic: once to whoever may be a member, again and again to bootstraps. */
export class Greeter {
  readonly #needs: GreeterNeeds
  /** Bootstraps to be greeted again. */
  readonly #again = new Map<PeerId, () => void>()

  constructor(needs: GreeterNeeds) {
    this.#needs = needs
  }

  /** Greets every bootstrap that is up, or comes up, until the returned undo is called. */
  followBootstraps(): () => void {
    const { bootstraps, roster } = this.#needs
    const undo = [
      bootstraps.on('up', ({ peerId }) => void this.#greetBootstrap(peerId)),
      roster.on('unlinked', ({ peerId }) => this.#greetAgain(peerId, 0))
    ]
    for (const peerId of bootstraps.up) void this.#greetBootstrap(peerId)
    return () => {
      for (const each of [...undo, ...this.#again.values()]) each()
      this.#again.clear()
    }
  }

  /** True when it was answered. */
  async greet(peerId: PeerId, onFailure?: (thrown: unknown) => void): Promise<boolean> {
    const { roster, topic, signal, log } = this.#needs
    try {
      await roster.greet(peerId, topic, signal)
      return true
    } catch (thrown) {
      if (!signal.aborted) {
        log.debug({ err: thrown, peerId, topic: topic.id }, 'HELLO not answered')
        onFailure?.(thrown)
      }
      return false
    }
  }

  async #greetBootstrap(peerId: PeerId, failures = 0): Promise<void> {
    const tell = (thrown: unknown): void => {
      if (failures === 0 && isMusterError(thrown, 'network-mismatch')) this.#needs.onMismatch(peerId)
    }
    if (!(await this.greet(peerId, tell))) this.#greetAgain(peerId, failures + 1)
  }

  /** A bootstrap that is up and does not share the topic with us is asked again: nobody else tells us who comes. */
  #greetAgain(peerId: PeerId, failures: number): void {
    const { bootstraps, clock, signal } = this.#needs
    if (signal.aborted || !bootstraps.up.includes(peerId)) return
    this.#again.get(peerId)?.()
    const pauseMs = Math.min(REGREET_MAX_MS, REGREET_MIN_MS * 2 ** Math.max(0, failures - 1))
    const undo = clock.after(pauseMs, () => {
      this.#again.delete(peerId)
      if (bootstraps.up.includes(peerId)) void this.#greetBootstrap(peerId, failures)
    })
    this.#again.set(peerId, undo)
  }
}
