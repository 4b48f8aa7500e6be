// Who is here? One line for everybody who comes or goes.
//
//   node examples/presence.ts                              three friends come and go inside this process
//   node examples/presence.ts 127.0.0.1:8468 lobby         watches a topic through a bootstrap that runs
//
// With Muster as a dependency, import from 'muster'.
import { createPeer, type Group, testnet } from '../src/index.ts'

/** Prints changes until the group is left, and the whole list after each. */
function watch(group: Group): void {
  const print = (change: string): void => {
    const names = group.members().map(({ name, peerId }) => name ?? peerId)
    console.log(`${change.padEnd(20)} here: ${names.sort().join(', ') || 'nobody'}`)
  }
  group.on('member', ({ name, peerId, verified }) => print(`+ ${name ?? peerId}${verified ? '' : ' (unverified)'}`))
  group.on('left', ({ name, peerId, reason }) => print(`- ${name ?? peerId} (${reason})`))
}

/** Resolves as soon as so many members are here. */
function size(group: Group, wanted: number): Promise<void> {
  return new Promise(resolve => {
    const check = (): void => {
      if (group.members().length === wanted) resolve()
    }
    group.on('member', check)
    group.on('left', check)
    check()
  })
}

async function friends(): Promise<void> {
  await using network = await testnet()
  const watcher = await network.createPeer({ name: 'watcher' })
  const lobby = await watcher.join('lobby')
  watch(lobby)
  const peers = await Promise.all(['ana', 'ben', 'eva'].map(name => network.createPeer({ name })))
  await Promise.all(peers.map(peer => peer.join('lobby')))
  await size(lobby, 3)
  await peers[0]?.close() // says goodbye
  await size(lobby, 2)
  for (const group of peers[1]?.groups ?? []) await group.leave() // leaves the topic, stays in the network
  await size(lobby, 1)
}

async function watchThrough(address: string, name = 'global-chat'): Promise<void> {
  const peer = await createPeer({ bootstrap: [address], memory: true })
  watch(await peer.join(name))
  process.once('SIGINT', () => void peer.close())
}

const [bootstrap, topic] = process.argv.slice(2)
await (bootstrap === undefined ? friends() : watchThrough(bootstrap, topic))
