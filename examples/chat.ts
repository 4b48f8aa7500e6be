// Everybody in a topic hears what anybody types.
//
//   node examples/chat.ts                                  two peers talk inside this process
//   node examples/chat.ts 127.0.0.1:8468 ana lobby         you talk, through a bootstrap that runs
//
// With Muster as a dependency, import from 'muster'.
import { createInterface } from 'node:readline'
import { createPeer, type Group, isMusterError, testnet } from '../src/index.ts'

/** Each member gets a message of its own; a receipt says that its application took it. */
async function say(group: Group, text: string): Promise<void> {
  for (const member of group.members()) {
    try {
      const { rttMs } = await group.send(member, { say: text })
      console.log(`  ${member.name} took it after ${rttMs.toFixed(1)} ms`)
    } catch (error) {
      if (!isMusterError(error)) throw error
      console.log(`  ${member.name} did not get it: ${error.code}`)
    }
  }
}

function print(me: string, group: Group): void {
  group.on('member', ({ name }) => console.log(`${me} meets ${name}`))
  group.on('message', ({ name, value }) => console.log(`${me} hears ${name}: ${(value as { say: string }).say}`))
  group.on('left', ({ name, reason }) => console.log(`${me} misses ${name} (${reason})`))
}

async function talkHere(): Promise<void> {
  await using network = await testnet()
  const ana = await network.createPeer({ name: 'ana' })
  const ben = await network.createPeer({ name: 'ben' })
  const [anasLobby, bensLobby] = [await ana.join('lobby'), await ben.join('lobby')]
  print('ana', anasLobby)
  print('ben', bensLobby)
  await Promise.all([anasLobby, bensLobby].map(met))
  await say(anasLobby, 'hello')
  await say(bensLobby, 'hello yourself')
}

function met(group: Group): Promise<void> {
  return new Promise(resolve => (group.members().length > 0 ? resolve() : group.on('member', () => resolve())))
}

async function talkThrough(address: string, name = 'somebody', topic = 'lobby'): Promise<void> {
  await using peer = await createPeer({ bootstrap: [address], name, memory: true })
  peer.on('problem', ({ code, message }) => console.log(`${code}: ${message}`))
  const group = await peer.join(topic)
  print(name, group)
  for await (const line of createInterface({ input: process.stdin })) await say(group, line)
}

const [bootstrap, ...rest] = process.argv.slice(2)
await (bootstrap === undefined ? talkHere() : talkThrough(bootstrap, ...rest))
