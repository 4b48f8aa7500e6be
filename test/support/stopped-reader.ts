import { createInterface } from 'node:readline'
import { createPeer, type MusterError } from '../../src/index.ts'

// One process of the test with a stopped reader: `reader`, which takes whatever comes, or `sender STOPPED OTHER`.

const MIB = 1_048_576
const VALUE_BYTES = 62.5 * MIB
const SENDS = 8
const ROUNDS = 200

const [role = '', bootstrap = '', stopped = '', other = ''] = process.argv.slice(2)
const say = (event: string, more: object = {}): void => console.log(JSON.stringify({ event, ...more }))
const lines = createInterface(process.stdin)[Symbol.asyncIterator]()

await using peer = await createPeer({
  ...{ bootstrap: [bootstrap], listen: '127.0.0.1:0', memory: true },
  maxPeerBytes: 1024 * MIB // all of it may be on its way
})
const group = await peer.join('lobby')
group.on('message', () => undefined)
say('listening', { peerId: peer.peerId })
if (role === 'sender') await send()
await lines.next()

async function send(): Promise<void> {
  while (![stopped, other].every(id => group.members().some(({ peerId }) => peerId === id))) {
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  await group.send(stopped, 'hello')
  const value = new Uint8Array(VALUE_BYTES).fill(7)
  await roundTrips() // the first ones are slow
  const beforeMs = await roundTrips()
  globalThis.gc?.()
  const base = process.memoryUsage()
  let mostBytes = 0
  const look = (): void => {
    mostBytes = Math.max(mostBytes, process.memoryUsage.rss() - base.rss)
  }
  const looking = setInterval(look, 20)
  say('ready')
  await lines.next() // the reader is stopped now

  let sentBytes = 0
  const sendOne = async (): Promise<string> => {
    let own = 0
    const onProgress = ({ bytes }: { bytes: number }): void => {
      sentBytes += bytes - own
      own = bytes
    }
    try {
      await group.send(stopped, value, { timeoutMs: 120_000, onProgress })
      return 'receipt'
    } catch (thrown) {
      return (thrown as MusterError).code
    }
  }
  const sends: Array<Promise<string>> = []
  const duringMs: number[] = []
  while (sends.length < SENDS) {
    sends.push(sendOne())
    duringMs.push(await roundTrips())
  }
  for (let last = -1; last !== sentBytes; ) {
    last = sentBytes // as much as there is room for on the way
    duringMs.push(await roundTrips())
  }
  look()
  say('stalled', { beforeMs, duringMs: median(duringMs), mostBytes, sentBytes })
  await lines.next() // it goes on
  const outcomes = await Promise.all(sends)
  clearInterval(looking)
  const again = await group.send(other, value, { timeoutMs: 120_000 }).then(
    () => 'receipt',
    (thrown: MusterError) => thrown.code
  )
  globalThis.gc?.()
  await roundTrips()
  globalThis.gc?.()
  say('over', { outcomes, again, mostBytes, keptBytes: process.memoryUsage().arrayBuffers - base.arrayBuffers })
}

/** The median of some messages and their receipts, one after the other. */
async function roundTrips(): Promise<number> {
  const all: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now()
    await group.send(other, 'a small one')
    all.push(performance.now() - start)
  }
  return median(all)
}

function median(all: readonly number[]): number {
  return all.toSorted((a, b) => a - b)[all.length >> 1] ?? Number.NaN
}
