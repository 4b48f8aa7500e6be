import type { Group, Member, Message } from '../../../src/index.ts'
import { Arrival } from '../arrival.ts'
import { IN_FLIGHT, type Job, type Stack, stopwatch } from '../job.ts'
import { openAnswering, openAsking, windowed } from '../muster-pair.ts'
import { checkMessage, checkPart, longValue, messageOf } from '../payload.ts'

const TIMEOUT_MS = 120_000
/** Messages without a receipt at once when they go one way. */
const UNRECEIPTED = 256

let group: Group
let member: Member
let arrival: Arrival
let onMessage: (message: Message) => void = () => undefined

async function ask({ bytes, count }: Job, window: number): Promise<Float64Array> {
  const times = new Float64Array(count)
  await windowed(count, window, async number => {
    const before = performance.now()
    const answer = await group.ask(member, messageOf(number, bytes), { timeoutMs: TIMEOUT_MS })
    times[number] = (performance.now() - before) * 1e3
    checkMessage(answer.value, number, bytes)
  })
  return times
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
  async expect(job) {
    const expected = new Arrival(job)
    arrival = expected
    if (job.kind === 'bulk') onMessage = ({ value }) => expected.part(value)
    else if (job.kind === 'one way') onMessage = ({ value }) => expected.message(value)
    else {
      onMessage = message => {
        void message.respond(message.value)
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
      await group.send(member, value, { timeoutMs: TIMEOUT_MS })
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
