import HyperDHT from 'hyperdht'
import Hyperswarm, { type Socket } from 'hyperswarm'
import { drainingPipe, type Pipe, type Receive, stackOf } from '../pipe.ts'

const HOST = '127.0.0.1'
/** DHT nodes of the network, beside the two that meet. */
const NODES = 3
const TOPIC = Buffer.alloc(32, 'message')

interface Place {
  readonly host: string
  readonly port: number
}

function pipeOf(socket: Socket): Pipe {
  socket.on('error', () => undefined)
  return drainingPipe(
    bytes => socket.write(bytes),
    then => socket.once('drain', then)
  )
}

async function openNetwork(): Promise<Place[]> {
  let bootstrap: Place[] = []
  for (let i = 0; i < NODES; i++) {
    const node = new HyperDHT({ ephemeral: false, firewalled: false, bootstrap, host: HOST })
    await node.fullyBootstrapped()
    if (i === 0) bootstrap = [{ host: HOST, port: node.address().port }]
  }
  return bootstrap
}

const openSwarm = (bootstrap: Place[]) =>
  new Hyperswarm({ dht: new HyperDHT({ firewalled: false, bootstrap, host: HOST }) })

/** A connection of two swarms that met under a topic: Noise and libsodium over UDX. It keeps what one write is together. */
export const stack = stackOf({
  keepsMessages: true,
  async listen(accept) {
    const bootstrap = await openNetwork()
    const swarm = openSwarm(bootstrap)
    swarm.on('connection', socket => socket.on('data', accept(pipeOf(socket))))
    await swarm.listen()
    await swarm.join(TOPIC).flushed()
    return JSON.stringify(bootstrap)
  },
  async dial(address, receive: Receive) {
    const swarm = openSwarm(JSON.parse(address))
    const { promise, resolve } = Promise.withResolvers<Pipe>()
    swarm.on('connection', socket => {
      socket.on('data', receive)
      resolve(pipeOf(socket))
    })
    swarm.join(TOPIC)
    return await promise
  }
})
