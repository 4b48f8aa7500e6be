import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReceivedMessage } from '../../src/peer/topics/received.ts'

describe('a message nobody waits for an answer to', () => {
  it('has a signal of its own, which stays as it is: what is added to it goes with the message', () => {
    const [first, second] = [1, 2].map(
      at => new ReceivedMessage({ from: 'ana', id: String(at), value: at }, undefined, 'lobby')
    )
    assert.equal(first?.signal.aborted, false)
    assert.equal(first?.signal, first?.signal)
    assert.notEqual(first?.signal, second?.signal)
  })

  it('refuses an answer', async () => {
    const message = new ReceivedMessage({ from: 'ana', id: '1', value: 1 }, undefined, 'lobby')
    assert.equal(message.wantsReply, false)
    await assert.rejects(message.respond(1), { code: 'refused' })
    await assert.rejects(message.ask(1), { code: 'refused' })
  })
})
