import { exit, job, mark, report } from './clock.js'

const { default: Hyperswarm } = await import('hyperswarm')
mark('import')

const [host, port] = job.bootstrap.split(':')
const bootstrap = [{ host, port: Number(port) }]
// `open` tells the DHT that no firewall is in the way, which spares it the question. It then binds to one interface.
const options = job.open
  ? { dht: new (await import('hyperdht')).default({ bootstrap, firewalled: false, host: job.host }) }
  : { bootstrap }
const swarm = new Hyperswarm(options)
swarm.dht.once('listening', () => mark('listen'))
swarm.dht.once('ready', () => mark('bootstrap'))
// No event tells that a peer was found; the method every finding goes through does.
const handlePeer = swarm._handlePeer.bind(swarm)
swarm._handlePeer = (...found) => {
  mark('find')
  handlePeer(...found)
}
swarm.on('connection', socket => {
  mark('connect')
  socket.on('error', () => {})
  socket.once('data', () => {
    mark('message')
    report()
    void swarm.destroy().finally(exit)
  })
  socket.write(Buffer.from('hello'))
})
swarm.join(Buffer.from(job.topic, 'hex'))
