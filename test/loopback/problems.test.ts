import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { createBootstrap, createPeer, isMusterError, type MusterError, testnet } from '../../src/index.ts'
import { eventually } from '../support/eventually.ts'

const LOOPBACK = { memory: true, listen: '127.0.0.1:0', http: 'off' } as const

test('a peer of another network hears that the bootstrap is not of its own', async () => {
  await using net = await testnet()
  await using peer = await createPeer({ ...LOOPBACK, bootstrap: net.addresses, network: 'other' })
  const problems: MusterError[] = []
  peer.on('problem', problem => problems.push(problem))
  await peer.join('global-chat')
  await peer.join('another topic')
  await eventually('the mismatch is reported', () => problems.length > 0)
  assert.deepEqual(
    problems.map(({ code }) => code),
    ['network-mismatch'],
    'once, not for each topic'
  )
})

test('connecting to an address whose identity has changed is refused, and naming the new one is the way out', async () => {
  await using net = await testnet()
  const peer = await net.createPeer()
  const first = await createBootstrap(LOOPBACK)
  const [address = ''] = first.addresses
  const place = address.replace(/\/p2p\/.*$/, '')
  assert.equal(await peer.connect(place), first.peerId)
  await first.close()
  await eventually('the peer notices', () => !peer.node.isConnected(first.peerId))
  await using second = await createBootstrap({ ...LOOPBACK, listen: place })
  await assert.rejects(peer.connect(place), error => isMusterError(error, 'bootstrap-identity-changed'))
  assert.equal(await peer.connect(`${place}/p2p/${second.peerId}`), second.peerId)
  assert.equal(await peer.connect(place), second.peerId)
})

test('a status says that the DHT hangs instead of hanging too', async () => {
  await using peer = await createPeer({ ...LOOPBACK, http: '127.0.0.1:0', bootstrap: [] })
  peer.node.dht.answers = ({ signal } = {}) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  const response = await fetch(`${peer.httpUrl}/status`)
  assert.equal(response.status, 200)
  assert.equal(((await response.json()) as { health: { ok: boolean } }).health.ok, false)
})

test('memory and a data folder contradict each other in the library too', async () => {
  await assert.rejects(createPeer({ memory: true, data: 'somewhere' }), error =>
    isMusterError(error, 'options-invalid')
  )
})

test('a listener that throws refuses the message to its sender, and is an uncaught error at home', async () => {
  const script = `
    const { testnet } = await import(${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)})
    const uncaught = Promise.withResolvers()
    process.once('uncaughtException', error => uncaught.resolve(error.message))
    await using net = await testnet()
    const [ana, bob] = await Promise.all([net.createPeer(), net.createPeer()])
    const [here, there] = await Promise.all([ana.join('t'), bob.join('t')])
    there.on('message', () => { throw new Error('a bug of the listener') })
    const member = await new Promise(resolve => here.on('member', resolve))
    const code = await here.send(member, 'hello').then(() => 'receipt', error => error.code)
    console.log(JSON.stringify({ code, uncaught: await uncaught.promise }))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  assert.deepEqual(JSON.parse(stdout), { code: 'handler-failed', uncaught: 'a bug of the listener' })
})
