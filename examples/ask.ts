// Requests and answers: libraries lend books. One is asked in a chain of two, then all of them at once.
//
//   node examples/ask.ts
//
// With Muster as a dependency, import from 'muster'.
import { type Group, type Message, testnet } from '../src/index.ts'

/** Answers requests; `respond` and `ask` need no care about who waits: what fails in them ends nothing here. */
function lend(group: Group, shelf: readonly string[]): void {
  group.on('message', async message => {
    const { title } = Object(message.value) as { title?: unknown } // a stranger sent it: it may be anything
    if (typeof title !== 'string' || !shelf.includes(title)) return void (await message.respond('we do not have it'))
    const weeks = await message.ask('for how many weeks?')
    await weeks.respond(`${title}, for ${Math.min(Number(weeks.value) || 1, 4)} weeks`)
  })
}

function print({ name, value }: Message): void {
  console.log(`${name}: ${value}`)
}

await using network = await testnet()
const reader = await (await network.createPeer({ name: 'reader' })).join('books')
const peers = await Promise.all(['attic', 'cellar', 'closed', 'lazy'].map(name => network.createPeer({ name })))
const [attic, cellar, , lazy] = (await Promise.all(peers.map(peer => peer.join('books')))) as [
  Group,
  Group,
  Group,
  Group
]
lend(attic, ['Emma'])
lend(cellar, [])
lazy.on('message', () => undefined) // takes what comes and never answers; nobody listens for the one that is closed
while (reader.members().length < peers.length) await new Promise<void>(resolve => reader.on('member', () => resolve()))

const offer = await reader.ask(peers[0]?.peerId ?? '', { title: 'Emma' })
print(offer)
print(await offer.ask(9))

const lines: string[] = []
for await (const result of reader.askMany('all', { title: 'Ulysses' }, { timeoutMs: 1_000 })) {
  const name = peers.find(({ peerId }) => peerId === result.peerId)?.name
  lines.push(`${name}: ${result.outcome}, ${result.outcome === 'answered' ? result.reply.value : result.error.code}`)
}
for (const line of lines.sort()) console.log(line) // they come in the order of the answers
