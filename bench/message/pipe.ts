import { Arrival } from './arrival.ts'
import { framed, unframer } from './framing.ts'
import { IN_FLIGHT, type Job, type Spent, type Stack, stopwatch } from './job.ts'
import { checkMessage, checkPart, longValue, messageOf } from './payload.ts'

export type Receive = (bytes: Uint8Array) => void

/** Bytes to the other end. */
export interface Pipe {
  /** Takes bytes. Returns a promise when the sender should wait for room. */
  send(bytes: Uint8Array): Promise<void> | undefined
}

/** A pipe over what says `false` when it is full, and tells when it has drained. */
export function drainingPipe(write: (bytes: Uint8Array) => boolean, onceDrained: (then: () => void) => void): Pipe {
  let room: Promise<void> | undefined
  const drained = () =>
    new Promise<void>(resolve => {
      onceDrained(() => {
        room = undefined
        resolve()
      })
    })
  return {
    send(bytes) {
      if (write(bytes)) return undefined
      room ??= drained()
      return room
    }
  }
}

/** How a stack carries bytes between two processes. */
export interface Carrier {
  /** Whether each `send` at one end is one call of `receive` at the other. If not, messages go behind their length. */
  readonly keepsMessages: boolean
  listen(accept: (pipe: Pipe) => Receive, entry: string): Promise<string>
  dial(address: string, receive: Receive, entry: string): Promise<Pipe>
  /** Messages put into one write when they go one way. */
  readonly batch?: number
}

/** Bytes of a value that go into one write. */
const PART_BYTES = 65_536

/** The jobs, over anything that carries bytes. */
export function stackOf(carrier: Carrier): Stack {
  const { keepsMessages, batch = 1 } = carrier
  const pack = keepsMessages ? (message: Uint8Array) => message : framed
  let pipe: Pipe
  let receive: Receive = () => undefined
  let arrival: Arrival

  /** Calls `take` with every message from now on. */
  const onMessage = (take: Receive) => {
    receive = keepsMessages ? take : unframer(take)
  }

  /** Sends `count` requests, `window` at once; resolves with how long each took when all are answered. */
  const ask = ({ bytes, count }: Job, window: number): Promise<Float64Array> => {
    const { promise, resolve, reject } = Promise.withResolvers<Float64Array>()
    const times = new Float64Array(count)
    let [sent, answered] = [0, 0]
    const next = () => {
      times[sent] = performance.now()
      void pipe.send(pack(messageOf(sent++, bytes)))
    }
    onMessage(message => {
      try {
        checkMessage(message, answered, bytes)
      } catch (error) {
        reject(error)
      }
      times[answered] = (performance.now() - (times[answered] as number)) * 1e3
      if (++answered === count) resolve(times)
      else if (sent < count) next()
    })
    while (sent < Math.min(window, count)) next()
    return promise
  }

  const flood = async ({ bytes, count }: Job): Promise<void> => {
    for (let sent = 0; sent < count; ) {
      let packed: Uint8Array
      if (batch === 1) packed = pack(messageOf(sent++, bytes))
      else {
        const size = Math.min(batch, count - sent)
        packed = framed(...Array.from({ length: size }, (_, i) => messageOf(sent + i, bytes)))
        sent += size
      }
      const room = pipe.send(packed)
      if (room !== undefined) await room
    }
  }

  const pour = async (value: Uint8Array): Promise<void> => {
    for (let at = 0; at < value.length; at += PART_BYTES) {
      const room = pipe.send(value.subarray(at, at + PART_BYTES))
      if (room !== undefined) await room
    }
  }

  return {
    async listen(entry) {
      return await carrier.listen(accepted => {
        pipe = accepted
        return bytes => receive(bytes)
      }, entry)
    },
    async dial(address, entry) {
      pipe = await carrier.dial(address, bytes => receive(bytes), entry)
    },
    async expect(job) {
      const expected = new Arrival(job)
      arrival = expected
      if (job.kind === 'bulk') receive = part => expected.part(part)
      else if (job.kind === 'one way') onMessage(message => expected.message(message))
      else {
        onMessage(message => {
          void pipe.send(pack(message))
          expected.message(message)
        })
      }
    },
    async run(job): Promise<Spent> {
      const value = job.kind === 'bulk' ? longValue(job.bytes) : undefined
      const spent = stopwatch()
      if (job.kind === 'round trip') return spent({ latenciesUs: await ask(job, 1) })
      if (job.kind === 'in flight') await ask(job, IN_FLIGHT)
      else if (value === undefined) await flood(job)
      else {
        await pour(value)
        const poured = spent()
        checkPart(value, 0) // a stack that encrypts where it stands has no right to its caller's bytes
        return poured
      }
      return spent()
    },
    async arrived() {
      return await arrival.done
    }
  }
}
