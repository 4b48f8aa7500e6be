import HyperDHT from 'hyperdht'
import Hyperswarm from 'hyperswarm'
import type { Stack } from './stack.ts'

const nodes: HyperDHT[] = []
let swarm: Hyperswarm

const target = (address: string) => {
  const [host = '', port] = address.split(':')
  return { host, port: Number(port) }
}

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap === undefined ? [] : [target(bootstrap)]
    for (let i = 0; i < count; i++) {
      // As its own testnet does.
      const node = new HyperDHT({ ephemeral: false, firewalled: false, bootstrap: known, host })
      await node.fullyBootstrapped()
      if (known.length === 0) known = [{ host, port: node.address().port }]
      nodes.push(node)
    }
    return `${host}:${nodes[0]?.address().port}`
  },
  async settle() {
    for (const node of nodes) await node.findNode(node.table.id).finished()
  },
  async member(host, bootstrap) {
    const dht = new HyperDHT({ firewalled: false, bootstrap: [target(bootstrap)], host })
    swarm = new Hyperswarm({ dht })
    swarm.on('connection', socket => {
      socket.on('error', () => undefined)
      socket.on('data', data => socket.write(data))
    })
    await swarm.listen()
  },
  async join(topic) {
    await swarm.join(Buffer.from(topic, 'hex')).flushed()
  },
  async lists() {
    return true // its `join` waits for it
  },
  async leave(topic) {
    await swarm.leave(Buffer.from(topic, 'hex'))
  }
}
