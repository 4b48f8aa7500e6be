import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createBootstrap } from '../../src/bootstrap/bootstrap.ts'
import type { Message, Value } from '../../src/peer/api.ts'
import { createPeer } from '../../src/peer/peer.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { eventually } from '../support/eventually.ts'
import { freePort, temporaryFolder } from '../support/topics.ts'

const TEST = { timeout: 60_000 }

const LOCAL = { memory: true, listen: '127.0.0.1:0' } as const

/** What a group tells from now on. */
function listen(group: { on(event: 'message', listener: (message: Message) => void): unknown }): Message[] {
  const messages: Message[] = []
  group.on('message', message => messages.push(message))
  return messages
}

const values = (messages: readonly Message[], via: Message['via']): Value[] =>
  messages.filter(message => message.via === via).map(({ value }) => value)

describe('history over real sockets', () => {
  it('tells a newcomer what was said, each once, from a bootstrap that keeps and was restarted', TEST, async () => {
    await using scope = new Scope()
    await using folder = await temporaryFolder()
    const port = await freePort()
    const start = () =>
      createBootstrap({ data: folder.path, listen: `127.0.0.1:${port}`, http: 'off', keep: ['lobby'] })
    const said: Value[] = [...Array.from({ length: 40 }, (_, at) => ({ at })), Uint8Array.of(1, 2, 3), 'ÿ 🎈']
    const bootstrap = [`127.0.0.1:${port}`]
    {
      await using hub = await start()
      const ana = await createPeer({ ...LOCAL, bootstrap, name: 'ana' })
      const ben = await createPeer({ ...LOCAL, bootstrap })
      const [anas, bens] = [await ana.join('lobby'), await ben.join('lobby')]
      const heard = listen(bens)
      await eventually('they meet, and the bootstrap is in the mesh', () =>
        [ben.peerId, hub.peerId].every(peerId => ana.node.gossip.neighbours(anas.topicId).includes(peerId))
      )
      await anas.send(ben.peerId, 'a secret')
      for (const value of said) {
        await anas.broadcast(value)
      }
      await eventually('ben hears all of it', () => values(heard, 'broadcast').length === said.length)
      await eventually('it is kept', async () => (await bens.history()).length === said.length)
      await ana.close()
      await ben.close()
    }
    scope.own(await start())
    const late = scope.own(await createPeer({ ...LOCAL, bootstrap }))
    const lates = await late.join('lobby', { history: 30 })
    const told = listen(lates)
    await eventually('the newcomer is told', () => told.length === 30)
    assert.deepEqual(values(told, 'history'), said.slice(-30))
    assert.equal(new Set(told.map(({ from, id }) => `${from} ${id}`)).size, 30)
    assert.ok(
      told.every(({ name, sentAt = '' }) => name === 'ana' && Math.abs(Date.parse(sentAt) - Date.now()) < 60_000)
    )
    const all = await lates.history({ limit: 1_000 })
    assert.deepEqual(
      all.map(({ value }) => value),
      said
    )
    assert.equal(told.length, 30, 'asking delivers nothing')
  })

  it('is kept by a member too, and what is live does not come again', TEST, async () => {
    await using scope = new Scope()
    const hub = scope.own(await createBootstrap({ ...LOCAL, http: 'off' }))
    const bootstrap = hub.addresses.slice(0, 1)
    const keeper = scope.own(await createPeer({ ...LOCAL, bootstrap, keep: ['lobby'] }))
    const ana = scope.own(await createPeer({ ...LOCAL, bootstrap }))
    await keeper.join('lobby')
    const anas = await ana.join('lobby')
    await eventually('the keeper is in the mesh', () =>
      ana.node.gossip.neighbours(anas.topicId).includes(keeper.peerId)
    )
    for (const at of [1, 2, 3]) await anas.broadcast(at)
    const late = scope.own(await createPeer({ ...LOCAL, bootstrap }))
    const told = listen(await late.join('lobby', { history: 100 }))
    await eventually('the newcomer is in the mesh', () =>
      late.node.gossip.neighbours(anas.topicId).includes(ana.peerId)
    )
    for (const at of [4, 5, 6]) await anas.broadcast(at)
    await eventually('it has heard all', () => told.length >= 6)
    const kept = await late.groups[0]?.history()
    assert.deepEqual(
      kept?.map(({ value }) => value),
      [1, 2, 3, 4, 5, 6]
    )
    assert.deepEqual(told.map(({ value }) => value).toSorted(), [1, 2, 3, 4, 5, 6])
  })

  it('is nothing, and no error, where nobody keeps', TEST, async () => {
    await using scope = new Scope()
    const hub = scope.own(await createBootstrap({ ...LOCAL, http: 'off' }))
    const bootstrap = hub.addresses.slice(0, 1)
    const ana = scope.own(await createPeer({ ...LOCAL, bootstrap }))
    const anas = await ana.join('lobby', { history: 10 })
    await eventually('the bootstrap is there', () => ana.node.isConnected(hub.peerId))
    assert.deepEqual(await anas.history(), [])
    await assert.rejects(ana.join('attic', { history: 1_001 }), { code: 'options-invalid' })
    await anas.leave()
    await assert.rejects(anas.history(), { code: 'closed' })
  })
})
