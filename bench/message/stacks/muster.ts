import type { Member } from '../../../src/index.ts'
import { Arrival } from '../arrival.ts'
import { IN_FLIGHT, type Job, type Kind, type Stack, stopwatch } from '../job.ts'
import { type Group, type LaterMessage, openAnswering, openAsking, windowed } from '../muster-pair.ts'
import { checkMessage, checkPart, longValue, messageOf } from '../payload.ts'

const TIMEOUT_MS = 120_000
/** Messages without a receipt at once when they go one way, and parts of a value that is too long for one message. */
const UNRECEIPTED = 256
const PARTS_AT_ONCE = 4
/** What a value is cut into, from the longest that may go through. */
const PART_BYTES = [268_435_456, 67_108_864, 1_048_576]

let group: Group
let member: Member
let arrival: Arrival
let onMessage: (message: LaterMessage) => void = () => undefined

async function ask({ bytes, count }: Job, window: number): Promise<Float64Array> {
  const times = new Float64Array(count)
  await windowed(count, window, async number => {
    const before = performance.now()
    const answer = await group.ask?.(member, messageOf(number, bytes), { timeoutMs: TIMEOUT_MS })
    times[number] = (performance.now() - before) * 1e3
    checkMessage(answer?.value, number, bytes)
  })
  return times
}

/** Sends the value in as few messages as go through; says how many bytes each had. */
async function pour(value: Uint8Array): Promise<number> {
  for (const size of PART_BYTES.map(bytes => Math.min(bytes, value.length))) {
    const send = (part: number) =>
      group.send(member, value.subarray(part * size, (part + 1) * size), { timeoutMs: TIMEOUT_MS })
    try {
      await send(0)
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code === 'too-large') continue
      throw thrown
    }
    await windowed(Math.ceil(value.length / size) - 1, PARTS_AT_ONCE, part => send(part + 1))
    return size
  }
  throw new Error('no part of the value is short enough')
}

/** Requests with `ask`; messages and values with `send`, which waits for the receipt of the other side's application. */
export const stack: Stack = {
  async listen(entry) {
    const answering = await openAnswering(entry)
    group = answering.group
    group.on('message', message => onMessage(message))
    return answering.address
  },
  async dial(address, entry) {
    const asking = await openAsking(address, entry)
    group = asking.group
    member = asking.member
  },
  async lacks(kind: Kind) {
    const isRequest = kind === 'round trip' || kind === 'in flight'
    return isRequest && group.ask === undefined ? 'this version has no ask' : undefined
  },
  async expect(job) {
    const expected = new Arrival(job)
    arrival = expected
    if (job.kind === 'bulk') onMessage = ({ value }) => expected.part(value)
    else if (job.kind === 'one way') onMessage = ({ value }) => expected.message(value)
    else {
      onMessage = message => {
        message.respond?.(message.value)
        expected.message(message.value)
      }
    }
  },
  async run(job) {
    const { kind, bytes, count } = job
    const value = kind === 'bulk' ? longValue(bytes) : undefined
    const spent = stopwatch()
    if (kind === 'round trip') return spent({ latenciesUs: await ask(job, 1) })
    if (kind === 'in flight') await ask(job, IN_FLIGHT)
    else if (value === undefined) {
      const send = (number: number) => group.send(member, messageOf(number, bytes), { timeoutMs: TIMEOUT_MS })
      await windowed(count, UNRECEIPTED, send)
    } else {
      const partBytes = await pour(value)
      const poured = spent(partBytes < bytes ? { note: `in messages of ${partBytes / 2 ** 20} MiB` } : {})
      checkPart(value, 0) // a stack that encrypts where it stands has no right to its caller's bytes
      return poured
    }
    return spent()
  },
  async arrived() {
    return await arrival.done
  }
}
