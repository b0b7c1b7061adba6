/** `node scripts/kubernetes-tools.ts`: the engine's provider for Kubernetes, where the engine cannot fetch it itself. Idempotent. */
import { prepareMachine } from './setup/prepare.ts'

await prepareMachine([], ['kubernetes'])
