import type { Group, Member } from '../../../src/index.ts'
import { Arrival } from '../arrival.ts'
import { IN_FLIGHT, type Job, type Stack, stopwatch } from '../job.ts'
import { openAnswering, openAsking, windowed } from '../muster-pair.ts'
import { checkMessage, messageOf, numberOf } from '../payload.ts'

const TIMEOUT_MS = 120_000

let group: Group
let member: Member
let arrival: Arrival
const waiting = new Map<number, (answer: unknown) => void>()

/** A message there and one back: each has its receipt, so four go over the wire where `ask` needs two. */
async function echo({ bytes, count }: Job, window: number): Promise<Float64Array> {
  const times = new Float64Array(count)
  await windowed(count, window, async number => {
    const before = performance.now()
    const answer = new Promise<unknown>(resolve => waiting.set(number, resolve))
    const receipt = group.send(member, messageOf(number, bytes), { timeoutMs: TIMEOUT_MS })
    receipt.catch(() => undefined) // awaited below
    checkMessage(await answer, number, bytes)
    times[number] = (performance.now() - before) * 1e3
    await receipt
  })
  return times
}

/** Answers made of `send` alone: what `ask` saves. */
export const stack: Stack = {
  async listen(entry) {
    const answering = await openAnswering(entry)
    group = answering.group
    group.on('message', ({ from, value }) => {
      void group.send(from, value, { timeoutMs: TIMEOUT_MS })
      arrival.message(value)
    })
    return answering.address
  },
  async dial(address, entry) {
    const asking = await openAsking(address, entry)
    group = asking.group
    member = asking.member
    group.on('message', ({ value }) => {
      if (!(value instanceof Uint8Array)) return
      waiting.get(numberOf(value))?.(value)
      waiting.delete(numberOf(value))
    })
  },
  async expect(job) {
    arrival = new Arrival(job)
  },
  async run(job) {
    const spent = stopwatch()
    return spent({ latenciesUs: await echo(job, job.kind === 'round trip' ? 1 : IN_FLIGHT) })
  },
  async arrived() {
    return await arrival.done
  }
}
