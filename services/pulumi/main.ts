/** The plugin `pulumi-resource-forkyard`: listens on loopback, prints its port, and lives as long as the engine that started it. */
import grpc from '@grpc/grpc-js'
import provider from '@pulumi/pulumi/proto/provider_grpc_pb.js'
import { providerService } from './provider-service.ts'
import { version } from './version.ts'

const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 })
server.addService(provider.ResourceProviderService, providerService(version) as grpc.UntypedServiceImplementation)

server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error
  console.log(String(port))
})

// An engine that is killed cannot tell its plugins.
const engine = process.ppid
setInterval(() => {
  if (process.ppid !== engine) process.exit(1)
}, 1000).unref()
