/** Value of `Upgrade` in a link's handshake, which is an internal hop like others: token and `contracts/protocol.ts` go with it. */
export const linkProtocol = 'forkyard-link'
