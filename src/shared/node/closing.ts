import type { Clock } from '../core/clock.ts'
import { MusterError } from '../core/errors.ts'
import type { Channel } from './port.ts'

/** Closes a channel after what is buffered left, or resets it when that takes longer than `ms`. Never rejects. */
export async function closeWithin(channel: Channel, ms: number, clock: Clock): Promise<void> {
  const closed = new MusterError('closed', 'the stream was closed')
  const stop = clock.after(ms, () => channel.abort(closed))
  try {
    await new Promise<void>((resolve, reject) => {
      if (channel.signal.aborted) resolve()
      channel.signal.addEventListener('abort', () => resolve(), { once: true })
      channel.close().then(resolve, reject)
    })
  } catch {
    channel.abort(closed)
  } finally {
    stop()
  }
}

/**
 * Closes our half, and waits up to `ms` until the other side, having read to its end, closed its own; the channel is to be
 * read meanwhile. What was sent on a connection that is closed next is lost otherwise, where the other side was busy for a
 * moment. A channel that did not even take it is reset. Never rejects.
 */
export async function endWithin(channel: Channel, ms: number, clock: Clock): Promise<void> {
  let hasLeft = false
  const stopped = Promise.withResolvers<void>()
  const stop = clock.after(ms, () => stopped.resolve())
  if (channel.signal.aborted) stopped.resolve()
  channel.signal.addEventListener('abort', () => stopped.resolve(), { once: true })
  void channel.end().then(() => {
    hasLeft = true
  })
  await stopped.promise
  stop()
  if (hasLeft) await channel.close()
  else channel.abort(new MusterError('closed', 'the stream was closed'))
}
