# The course for a classroom, offline: docker build -t kcd-teach . ; see docs/installing.md
FROM python:3.12-slim
# uv knows where PyTorch's builds for processors are.
RUN pip install --no-cache-dir uv && uv pip install --system --no-cache --torch-backend cpu torch torchvision
COPY pyproject.toml README.md LICENSE /source/
COPY kcd_teach /source/kcd_teach
COPY notebooks /source/notebooks
COPY data /source/data
RUN pip install --no-cache-dir /source && rm -r /source
# Any user may write here, so that a folder of whoever starts it can be mounted: docker run --user.
RUN useradd --create-home learner && mkdir /home/learner/course && chmod 777 /home/learner /home/learner/course
ENV HOME=/home/learner
USER learner
WORKDIR /home/learner
EXPOSE 8888
# The notebooks are copied when it starts, so that a mounted folder gets them, and answers in it stay.
CMD ["sh", "-c", "kcd-teach lab --to course --only-copy && cd course && exec jupyter lab --ip=0.0.0.0 --no-browser --LabApp.default_url=/lab/tree/00_tour.ipynb"]
