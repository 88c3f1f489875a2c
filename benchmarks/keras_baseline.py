"Plain Keras models of the paper's architecture, for throughput.py to compare with: a process of its own, which reads what to build as JSON, and then runs what each line names and answers with the seconds that it took. Needs TensorFlow only."
import argparse,json,sys,time

def vae(arch):
    "The paper's networks as one would write them in Keras."
    from keras import Model,layers as L
    def block(x, f, k):
        for _ in range(arch['convolutions']): x = L.LeakyReLU(negative_slope=arch['slope'])(L.Conv2D(f, k, padding='same')(x))
        return x
    x = images = L.Input((arch['size'], arch['size'], arch['bands']))
    for f,k in zip(arch['encoder_filters'], arch['encoder_kernels']): x = L.MaxPooling2D()(block(x, f, k))
    x = L.Flatten()(x)
    encoder = Model(images, [L.Dense(arch['n_latent'], dtype='float32')(x) for _ in range(2)])
    side,first = arch['size'] >> len(arch['decoder_filters']),arch['decoder_filters'][0]
    z = L.Input((arch['n_latent'],))
    x = L.Reshape((side, side, first))(L.LeakyReLU(negative_slope=arch['slope'])(L.Dense(side*side*first)(z)))
    for f,k in zip(arch['decoder_filters'], arch['decoder_kernels']): x = L.UpSampling2D(interpolation='bilinear')(block(x, f, k))
    x = L.Conv2D(arch['bands'], arch['output_kernel'], padding='same', activation=arch['output'])(x)
    return encoder,Model(z, L.Activation('linear', dtype='float32')(x))

def runs_of(arch, batch, train_batch):
    "Functions that encode, generate and train once."
    import keras,tensorflow as tf
    encoder,decoder = vae(arch)
    opt,weights = keras.optimizers.Adam(3e-4),encoder.trainable_weights+decoder.trainable_weights
    def loss(x):
        m,v = encoder(x, training=True)
        recon = decoder(m+tf.exp(v/2)*tf.random.normal(tf.shape(m)), training=True)
        kl = -.5*tf.reduce_mean(tf.reduce_sum(1+v-m*m-tf.exp(v), -1))
        return tf.reduce_mean(tf.reduce_sum((recon-x)**2, [1, 2, 3]))+5e-4*kl+.01*tf.add_n([tf.reduce_sum(o*o) for o in weights])
    @tf.function
    def step(x):
        with tf.GradientTape() as t: out = loss(x)
        opt.apply_gradients(zip(t.gradient(out, weights), weights))
        return out
    shape = arch['size'],arch['size'],arch['bands']
    x,y,z = tf.random.uniform((batch, *shape)),tf.random.uniform((train_batch, *shape)),tf.random.normal((batch, arch['n_latent']))
    @tf.function
    def encode(o): return encoder(o, training=False)[0]
    @tf.function
    def generate(o): return decoder(o, training=False)
    return dict(encode=lambda: encode(x).numpy(), generate=lambda: generate(z).numpy(), train=lambda: step(y).numpy())

def worker():
    "Say when ready; then run what each line of the input names, and answer with the seconds that it took."
    asked = json.loads(sys.stdin.readline())
    import keras,tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(asked['threads'])
    keras.mixed_precision.set_global_policy(asked['policy'])
    runs = runs_of(asked['arch'], asked['batch'], asked['train_batch'])
    print(json.dumps(dict(tensorflow=tf.__version__, keras=keras.__version__)), flush=True)
    for line in sys.stdin:
        t = time.perf_counter()
        runs[line.strip()]()
        print(time.perf_counter()-t, flush=True)

if __name__ == '__main__':
    argparse.ArgumentParser(description=__doc__).parse_args()
    worker()
