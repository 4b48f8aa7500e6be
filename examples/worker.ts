// Work handed out over direct messages: jobs as JSON, results as bytes, and what each error code means to the sender.
//
//   node examples/worker.ts
//
// With Muster as a dependency, import from 'muster'.
import { createHash } from 'node:crypto'
import { type Group, isMusterError, testnet, type Value } from '../src/index.ts'

/** Takes jobs. A listener that throws is a defect of the program and ends it, so what strangers send is looked at first. */
function work(group: Group): void {
  group.on('message', ({ from, value }) => {
    const { job, text } = value as { job?: unknown; text?: unknown }
    if (typeof job !== 'number' || typeof text !== 'string') return
    const digest = createHash('sha256').update(text).digest()
    void report(group, from, Uint8Array.of(job, ...digest)) // bytes travel as they are
  })
}

async function report(group: Group, to: string, value: Value): Promise<string> {
  try {
    await group.send(to, value, { timeoutMs: 5_000 })
    return 'taken'
  } catch (error) {
    if (!isMusterError(error)) throw error
    return error.code
  }
}

await using network = await testnet()
const boss = await (await network.createPeer({ name: 'boss' })).join('jobs')
const peers = await Promise.all(['w1', 'w2', 'idle'].map(name => network.createPeer({ name })))
const workers = await Promise.all(peers.map(peer => peer.join('jobs')))
workers.slice(0, 2).forEach(work) // the third takes no messages

const jobs = ['apple', 'pear', 'plum', 'quince']
const results = new Map<number, string>()
const done = Promise.withResolvers<void>()
boss.on('message', ({ name, value }) => {
  if (!(value instanceof Uint8Array)) return
  const [job = 0, ...digest] = value
  results.set(job, `${jobs[job]} ${Buffer.from(digest).toString('hex').slice(0, 16)} by ${name}`)
  if (results.size === jobs.length) done.resolve()
})
while (boss.members().length < 3) await new Promise<void>(resolve => boss.on('member', () => resolve()))

const [first, second, idle] = peers.map(({ peerId }) => peerId) as [string, string, string]
await Promise.all(jobs.map((text, job) => report(boss, job % 2 === 0 ? first : second, { job, text })))
await done.promise
for (const job of jobs.keys()) console.log(results.get(job))

console.log(`to one who does not listen: ${await report(boss, idle, { job: 8, text: 'fig' })}`)
console.log(`a value that is no JSON: ${await report(boss, first, { at: Number.NaN })}`)
console.log(`a hundred megabytes: ${await report(boss, first, new Uint8Array(100_000_000))}`)
await peers[0]?.close()
while (boss.members().length > 2) await new Promise<void>(resolve => boss.on('left', () => resolve()))
console.log(`to one who left: ${await report(boss, first, { job: 9, text: 'late' })}`)
