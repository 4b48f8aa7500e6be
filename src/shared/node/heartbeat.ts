import type { Connection, Libp2p } from '@libp2p/interface'
import { MusterError } from '../core/errors.ts'
import type { Undo } from '../core/lifecycle.ts'
import { HEARTBEAT_TIMEOUT_MS, PING_INTERVAL_MS } from './limits.ts'
import { muxerOf } from './muxer.ts'
import { nextTurn } from './turn.ts'

/**
 * The last part of the wait begins only once the first is over, and reads between its slices: a process that stood still
 * itself finds all its timers due before it has read anything.
 */
const SECOND_CHANCE_MS = 1_000
const SLICES = 10

/**
 * Pings every connection at the level of yamux and aborts those from which nothing comes any more: a cut network, a frozen
 * process. Whatever comes is a sign of life: under a flood the answer to the ping waits behind megabytes.
 * One frame of 12 bytes each way, where libp2p's connection monitor opens and negotiates a stream: 64 idle nodes kept half
 * a core busy with that.
 */
export function keepHeartbeat(libp2p: Libp2p): Undo {
  const timer = setInterval(() => {
    for (const connection of libp2p.getConnections()) void check(connection)
  }, PING_INTERVAL_MS)
  timer.unref()
  return () => clearInterval(timer)
}

async function check(connection: Connection): Promise<void> {
  const muxer = muxerOf(connection)
  if (muxer === undefined || connection.status !== 'open') return
  using life = signOfLife(muxer.maConn)
  const answered = muxer.ping().then(
    () => true,
    () => connection.status !== 'open' // closed meanwhile: nothing left to do
  )
  const alive = Promise.race([answered, life.promise])
  let isAlive = await within(HEARTBEAT_TIMEOUT_MS - SECOND_CHANCE_MS, alive)
  for (let slice = 0; slice < SLICES && isAlive === undefined; slice++) {
    await nextTurn()
    isAlive = await within(SECOND_CHANCE_MS / SLICES, alive)
  }
  if (isAlive !== true && connection.status === 'open') connection.abort(new MusterError('timed-out', 'no heartbeat'))
}

/** Resolves with true when the next bytes come. */
function signOfLife(socket: EventTarget): Disposable & { readonly promise: Promise<true> } {
  const { promise, resolve } = Promise.withResolvers<true>()
  const onMessage = (): void => resolve(true)
  socket.addEventListener('message', onMessage, { once: true })
  return { promise, [Symbol.dispose]: () => socket.removeEventListener('message', onMessage) }
}

/** Undefined when `promise` takes longer than `ms`. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => late.resolve(undefined), ms)
  timer.unref()
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
