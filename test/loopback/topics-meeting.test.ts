import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createBootstrap, createPeer, testnet } from '../../src/index.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { eventually } from '../support/eventually.ts'
import { allMeet, allTalk, cameOnce, freePort, providersAt, type Seat, seen, sit } from '../support/topics.ts'

const QUIET = { memory: true, listen: '127.0.0.1:0', http: 'off' } as const

describe('peers that join a topic', () => {
  it('meet in every topic they share and in no other', async () => {
    await using net = await testnet()
    const [ana, bob] = [await net.createPeer(), await net.createPeer()]
    const topics = Array.from({ length: 12 }, (_, number) => `topic ${number}`)
    const [anas, bobs] = await Promise.all([ana, bob].map(peer => Promise.all(topics.map(topic => sit(peer, topic)))))
    assert.ok(anas !== undefined && bobs !== undefined)
    const aside = await sit(ana, 'for ana alone')
    await Promise.all(topics.map((_, at) => allMeet([anas[at], bobs[at]].filter(seat => seat !== undefined))))
    for (const [at, seat] of anas.entries()) {
      const other: Seat | undefined = bobs[at]
      assert.ok(other !== undefined)
      await allTalk([seat, other])
      cameOnce(seat, other)
      cameOnce(other, seat)
      assert.equal(other.messages[0]?.topic, topics[at])
    }
    assert.deepEqual(seen(aside), [])
  })

  it('see each other when they join at the same instant, ten times out of ten', async () => {
    await using net = await testnet()
    const [ana, bob] = [await net.createPeer(), await net.createPeer()]
    for (let round = 0; round < 10; round++) {
      const seats = await Promise.all([ana, bob].map(peer => sit(peer, `round ${round}`)))
      await allMeet(seats)
      await Promise.all(seats.map(({ group }) => group.leave()))
    }
  })

  it('see each other when they are started at the same instant too', async () => {
    await using net = await testnet()
    const start = async () => await sit(await net.createPeer())
    const [ana, bob] = await Promise.all([start(), start()])
    await allMeet([ana, bob])
    cameOnce(ana, bob)
    cameOnce(bob, ana)
  })

  it('are twelve, started at once on one host', async () => {
    await using net = await testnet()
    const seats = await Promise.all(Array.from({ length: 12 }, async () => await sit(await net.createPeer())))
    await allMeet(seats, { withinMs: 40_000 }) // 66 pairs prove themselves to each other in this one process
    for (const seat of seats) cameOnce(seat, ...seats.filter(other => other !== seat))
    await allTalk(seats)
  })

  it('know different bootstraps of one mesh', async () => {
    await using net = await testnet(2)
    const seats = await Promise.all(
      net.addresses.map(async address => await sit(await net.createPeer({ bootstrap: [address] })))
    )
    await allMeet(seats)
    await allTalk(seats)
  })

  it('know the two ends of a chain of three bootstraps', async () => {
    await using first = await createBootstrap({ ...QUIET, bootstrap: [] })
    await using second = await createBootstrap({ ...QUIET, bootstrap: first.addresses.slice(0, 1) })
    await using third = await createBootstrap({ ...QUIET, bootstrap: second.addresses.slice(0, 1) })
    await using ana = await createPeer({ ...QUIET, bootstrap: first.addresses.slice(0, 1) })
    await using bob = await createPeer({ ...QUIET, bootstrap: third.addresses.slice(0, 1) })
    const seats = [await sit(ana), await sit(bob)]
    await allMeet(seats)
    await allTalk(seats)
  })

  it('know only the address of a member', async () => {
    await using ana = await createPeer({ ...QUIET, bootstrap: [] })
    await using bob = await createPeer({ ...QUIET, bootstrap: ana.addresses.slice(0, 1) })
    await using cy = await createPeer({ ...QUIET, bootstrap: bob.addresses.slice(0, 1) })
    const seats = [await sit(ana), await sit(bob), await sit(cy)]
    await allMeet(seats)
    await allTalk(seats)
  })

  it('know a member that joins the topic only later', async () => {
    await using ana = await createPeer({ ...QUIET, bootstrap: [] })
    await using bob = await createPeer({ ...QUIET, bootstrap: ana.addresses.slice(0, 1) })
    const early = await sit(bob)
    await eventually('bob is connected to ana', () => bob.node.isConnected(ana.peerId))
    await allMeet([early, await sit(ana)])
  })

  it('were started before their bootstrap', async () => {
    const port = await freePort()
    const bootstrap = [`127.0.0.1:${port}`]
    await using ana = await createPeer({ ...QUIET, bootstrap })
    await using bob = await createPeer({ ...QUIET, bootstrap })
    const seats = [await sit(ana), await sit(bob)]
    await using _late = await createBootstrap({ ...QUIET, listen: `127.0.0.1:${port}`, bootstrap: [] })
    await allMeet(seats, { withinMs: 60_000 })
  })

  it('find each other through the DHT alone when the roster is off, and leave no trace in it', async () => {
    await using net = await testnet()
    const peers = await Promise.all([1, 2, 3].map(() => net.createPeer({ roster: false })))
    const seats = await Promise.all(peers.map(peer => sit(peer)))
    await allMeet(seats, { withinMs: 60_000 })
    await allTalk(seats)
    const [gone, ...rest] = seats
    assert.ok(gone !== undefined)
    const { key } = await topicOf('lobby')
    await gone.group.leave()
    await allMeet(rest)
    await eventually('no node names the one that left', async () => {
      for (const { node } of [...net.bootstraps, ...rest.map(({ peer }) => peer)]) {
        assert.ok(!(await providersAt(node, key)).includes(gone.peerId))
      }
    })
  })

  it('are more than the mesh takes: the rest is listed unverified and reached when there is something to send', async () => {
    await using net = await testnet()
    const seats: Seat[] = []
    for (let number = 0; number < 6; number++) {
      seats.push(await sit(await net.createPeer({ tuning: { maxMesh: 2 } })))
    }
    await eventually('everybody lists everybody', () => {
      for (const seat of seats) assert.equal(new Set(seen(seat)).size, seats.length - 1)
    })
    const pairs = seats.flatMap(seat =>
      seat.group.members().flatMap(member => (member.verified ? [] : { seat, peerId: member.peerId }))
    )
    assert.ok(pairs.length > 0, 'nobody is beyond the mesh')
    for (const { seat, peerId } of pairs) {
      assert.equal((await seat.group.send(peerId, 'hello')).to, peerId)
      assert.ok(seat.group.members().find(member => member.peerId === peerId)?.verified)
    }
    for (const seat of seats) assert.equal(new Set(seen(seat)).size, seen(seat).length)
  })
})
