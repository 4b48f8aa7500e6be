import type { PeerAddress } from '../core/address.ts'
import type { Clock } from '../core/clock.ts'
import { Deadlines } from '../core/deadlines.ts'
import type { NamedNode } from '../wire/record.ts'
import type { Frontier } from './frontier.ts'
import { SLOW_NODE_MS } from './limits.ts'

export interface Walk {
  readonly clock: Clock
  readonly frontier: Frontier
  readonly signal: AbortSignal
  /** How many may be asked at once, as things stand. */
  parallel(): number
  /** Asks one node; resolves with those it names. A failure counts as that node's. */
  ask(node: PeerAddress): Promise<readonly NamedNode[]>
  /** True once nobody else needs to be asked. */
  isEnough(): boolean
}

/** Asks node after node, several at once, until enough is known or nobody is left. Rejects with the signal's reason. */
export async function walk({ clock, frontier, signal, parallel, ask, isEnough }: Walk): Promise<void> {
  const deadlines = new Deadlines(clock)
  let wake = Promise.withResolvers<void>()
  const onAbort = (): void => wake.resolve()
  signal.addEventListener('abort', onAbort)
  const start = (node: PeerAddress): void => {
    const slow = deadlines.after(SLOW_NODE_MS, () => {
      frontier.settled(node.peerId, 'slow')
      wake.resolve()
    })
    ask(node)
      .then(
        closer => {
          frontier.add(closer)
          frontier.settled(node.peerId, 'answered')
        },
        () => frontier.settled(node.peerId, 'failed')
      )
      .finally(() => {
        slow.stop()
        wake.resolve()
      })
  }
  try {
    for (;;) {
      signal.throwIfAborted()
      if (isEnough()) return
      for (let node = frontier.next(parallel()); node !== undefined; node = frontier.next(parallel())) start(node)
      if (frontier.isThrough && frontier.canLeaveSlow) return
      await wake.promise
      wake = Promise.withResolvers<void>()
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
