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
