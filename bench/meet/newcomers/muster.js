import { exit, job, mark, report } from './clock.js'

// `entry` is the library as source or as built.
const { createPeer } = await import(job.entry)
mark('import')

const peer = await createPeer({ listen: `${job.host}:0`, bootstrap: [job.bootstrap], memory: true })
mark('listen')
const dialled = () => (peer.node.connections().length > 0 ? mark('bootstrap') : undefined)
peer.node.on('connect', dialled)
dialled()

const group = await peer.join(job.topic)
const meet = member => {
  mark('find') // a member is shown once it was reached, so finding and connecting are one figure here
  mark('connect')
  return group.send(member, 'hello').then(receipt => {
    mark('message')
    report({ rttMs: receipt.rttMs })
    return peer.close().finally(exit)
  })
}
const [known] = group.members()
if (known !== undefined) await meet(known)
else group.on('member', meet)
