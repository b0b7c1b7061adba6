import * as pulumi from '@pulumi/pulumi'
import * as forkyard from 'forkyard/pulumi'

const config = new pulumi.Config()

const orders = new forkyard.Function('orders', { code: './orders' })

// What it may reach is what stands here, and in its forkyard.json.
const shop = new forkyard.Function('shop', {
  code: './shop',
  timeout: 10,
  bindings: {
    ...(config.getBoolean('orders') === false ? {} : { orders }),
    ...(config.getBoolean('warehouse')
      ? { warehouse: { type: 'subnet', cidrs: ['10.20.0.0/16'], ports: [5432] } }
      : {}),
    payments: {
      type: 'http',
      url: 'https://payments.example.com/v1',
      headers: { authorization: config.get('paymentsToken') ?? 'none' },
    },
  },
})

export const arn = shop.qualifiedArn
